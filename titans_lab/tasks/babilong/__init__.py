"""Settings of the task `babilong`: bAbI stories hidden in a book (arXiv 2406.10149)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from titans.models.config import ModelConfig
from titans_lab.study.metric import Metric
from titans_lab.study.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import PATH, TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class BabilongSettings(TaskSettings):
    """The facts of a story between the sentences of a book, then a question about them (arXiv 2406.10149).

    A sequence has `train.seq_len` bytes, question and answer included; a longer story is left out. One story in ten and
    the last tenth of the book, are for tests alone. The book is `data.path`, or a folder of books; null: Python's
    documentation.

    Attributes:
        facts: A bAbI file, such as qa1_single-supporting-fact_train.txt, plain or gzip.
        loss: Of the "answer" alone, or of "all" tokens.
        test_examples: Questions at the end of training, of the same length.
    """

    NAME: ClassVar[str] = "babilong"
    TASK: ClassVar[str] = "titans_lab.tasks.babilong.task:BabilongTask"
    LOSS: ClassVar[Metric] = Metric("loss", "nats per token", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of answers", "maximize", column="score")
    PATHS: ClassVar[tuple[str, ...]] = ("facts",)
    READS: ClassVar[frozenset[str]] = frozenset({"path"})

    facts: str | None = field(default=None, metadata=PATH)
    loss: Literal["answer", "all"] = "answer"
    test_examples: int = 200

    def __post_init__(self) -> None:
        if self.test_examples < 1:
            raise ValueError(f"test_examples: {self.test_examples} is below 1")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Bytes, and a file of stories."""
        if self.facts is None:
            raise ValueError("task.babilong.facts: null; name a file of bAbI stories")
        check_bytes(model)

    def digest(self, data: DataConfig) -> str:
        """Return the hash over the stories and the book."""
        from titans_lab.data.hidden import babilong_contents

        return babilong_contents(self.facts, data.path).digest

    def source(self, data: DataConfig) -> str:
        """Return the paths of the stories and of the book."""
        from titans_lab.data.hidden import babilong_source

        return babilong_source(self.facts, data.path)

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Return bytes, whatever the files are."""
        from titans_lab.data.tokenizer import BYTES

        return BYTES
