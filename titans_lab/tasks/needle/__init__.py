"""Settings of the task `needle`: needle in a haystack, by RULER's protocol (arXiv 2404.06654)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from titans.models.config import ModelConfig
from titans_lab.data.needles import Kind, Template, Words
from titans_lab.errors import UserError
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig, expand_paths
from titans_lab.tasks.settings import PATH, TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class NeedleSettings(TaskSettings):
    """Needle in a haystack: a fact between sentences, and a question for it (S-NIAH, arXiv 2404.06654).

    The fact is a key and its value, and the question asks for the value. A sequence has `train.seq_len` bytes, question
    and answer included. Values of validation and tests never occur in training. The haystack's text is `data.path`, by
    default Python's documentation.

    Attributes:
        kind: The kind of needle: "passkey" (S-NIAH-1: five repeated sentences, a number), "number" (S-NIAH-2: prose, a
            number), "uuid" (S-NIAH-3: prose, a UUID) or "word" (the Titans paper's S-NIAH-W: prose, a word).
        template: The words around the haystack: "ruler" has some 280 bytes, "brief" some 30, for short sequences.
        loss: The tokens that the loss is over: those of the "answer", or "all".
        test_examples: The number of test questions, and of validation questions, which have the same length.
        words: A folder with adjectivelist.txt and nounlist.txt, which keys are made of. Null: a short built-in list.
    """

    NAME: ClassVar[str] = "needle"
    TASK: ClassVar[str] = "titans_lab.tasks.needle.task:NeedleTask"
    VERSION: ClassVar[int] = 2  # 2: half of the held-out values and prose are for validation
    LOSS: ClassVar[Metric] = Metric("loss", "nats per token", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of answers", "maximize", column="score")
    PATHS: ClassVar[tuple[str, ...]] = ("words",)
    READS: ClassVar[frozenset[str]] = frozenset({"path"})

    kind: Kind = "passkey"
    template: Template = "ruler"
    loss: Literal["answer", "all"] = "answer"
    test_examples: int = 200
    words: str | None = field(default=None, metadata=PATH)

    def __post_init__(self) -> None:
        expand_paths(self, self.PATHS)
        if self.test_examples < 1:
            raise ValueError(f"test_examples: {self.test_examples} is below 1")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the 256 bytes, and sequences that are too short for a needle of built-in words."""
        check_bytes(model)
        longest = Words.of().longest(self.kind, self.template) - 1
        if self.words is None and train.seq_len < longest:
            raise ValueError(
                f"train.seq_len: {train.seq_len} is below the {longest} bytes that a needle and its question can take "
                f"(task.needle.kind is {self.kind}, task.needle.template is {self.template})"
            )

    def check_data(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse word lists that give no value for training, or none for tests, and needles that are too long."""
        from titans_lab.data.hidden import check_words, read_words

        if self.words is None:
            return
        if self.kind == "word":
            check_words(self.words)
        if (longest := Words.of(read_words(self.words)).longest(self.kind, self.template)) > train.seq_len + 1:
            raise UserError(
                f"train.seq_len: {train.seq_len} is too short for the longest words of {self.words}: a needle and its "
                f"question take {longest - 1} bytes; set train.seq_len={longest - 1} or more, or give shorter words"
            )

    def digest(self, data: DataConfig) -> str:
        """Return the hash over the prose and the lists of words."""
        from titans_lab.data.hidden import needle_contents

        return needle_contents(self.kind, data.path, self.words).digest

    def source(self, data: DataConfig) -> str:
        """Return the origin of the haystack."""
        from titans_lab.data.hidden import needle_source

        return needle_source(self.kind, data.path)

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Return the byte tokenizer."""
        from titans_lab.data.tokenizer import BYTES

        return BYTES
