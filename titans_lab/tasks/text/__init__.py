"""Settings of the task `text`: language modelling. Its data are the section `data`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer

BITS_PER_BYTE = Metric("loss", "bits per byte", column="loss")


@dataclass(frozen=True)
class TextSettings(TaskSettings):
    """Language modelling of the text in the section `data`. It has no settings of its own."""

    NAME: ClassVar[str] = "text"
    TASK: ClassVar[str] = "titans_lab.tasks.text.task:TextTask"
    VERSION: ClassVar[int] = 2  # 2: the final figures are of the test part, which is half of the held-out text
    READS: ClassVar[frozenset[str]] = frozenset({"path", "valid_fraction", "valid_bytes"})
    FASTA: ClassVar[bool] = False  # whether the bytes are the bases of a FASTA file
    SYMBOL: ClassVar[str] = "byte"
    ORDERS: ClassVar[tuple[int, ...]] = (0, 1, 3)
    LOSS: ClassVar[Metric] = BITS_PER_BYTE
    METRIC: ClassVar[Metric] = BITS_PER_BYTE

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the 256 bytes."""
        check_bytes(model)

    def tokens_of(self, data: DataConfig) -> int | None:
        """Return the number of tokens of a prepared folder; None for another text."""
        from titans_lab.data.corpus import prepared_vocabulary

        return None if self.FASTA else prepared_vocabulary(data)

    def check_data(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a text with tokens beyond the vocabulary, or shorter than one window."""
        from titans_lab.data.corpus import check_vocabulary, check_window

        if not self.FASTA:
            check_vocabulary(data, model.vocab_size)
        check_window(data, train.seq_len, self.FASTA)

    def digest(self, data: DataConfig) -> str:
        """Return the hash of the text or of the bases, for a prepared folder with the tokenizer's."""
        from titans_lab.data.corpus import corpus_digest

        return corpus_digest(data, self.FASTA)

    def source(self, data: DataConfig) -> str:
        """Return the path, or the version of Python."""
        from titans_lab.data.corpus import corpus_source

        return corpus_source(data)

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Return the prepared folder's tokenizer, or bytes."""
        from titans_lab.data.corpus import trained_tokenizer

        return trained_tokenizer(data, model.vocab_size, digest)
