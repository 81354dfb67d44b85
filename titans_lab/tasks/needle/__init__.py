"""Settings of the task `needle`: a fact in a haystack, by RULER's protocol (arXiv 2404.06654)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from titans.models.config import ModelConfig
from titans_lab.data.needles import Kind, Template
from titans_lab.errors import UserError
from titans_lab.study.metric import Metric
from titans_lab.study.sections import DataConfig, TrainConfig, expand_paths
from titans_lab.tasks.settings import PATH, TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer

KINDS: tuple[Kind, ...] = get_args(Kind)
#: Bytes that a needle, its question and its answer can take, with no haystack around them.
LONGEST = {"brief": 256, "ruler": 512}


@dataclass(frozen=True)
class NeedleSettings(TaskSettings):
    """A key and its value between sentences, then the key again: recall the value (arXiv 2404.06654, S-NIAH).

    A sequence has `train.seq_len` bytes, question and answer included. Values that are asked for in tests are never in
    training. Prose is `data.path`; null: Python's documentation.

    Attributes:
        kind: "passkey" (S-NIAH-1: five sentences over and over, a number), "number" (S-NIAH-2: prose, a number), "uuid"
            (S-NIAH-3: prose, a UUID) or "word" (the Titans paper's S-NIAH-W: prose, a word).
        template: "ruler", its words around the haystack, of some 280 bytes; "brief", of some 30, for short sequences.
        loss: Of the "answer" alone, or of "all" tokens.
        test_examples: Questions at the end of training, of the same length.
        words: A folder with adjectivelist.txt and nounlist.txt, of which keys are made; null: a short list of our own.
    """

    NAME: ClassVar[str] = "needle"
    TASK: ClassVar[str] = "titans_lab.tasks.needle.task:NeedleTask"
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
        """Bytes, and room for a needle and its question."""
        check_bytes(model)
        if train.seq_len < LONGEST[self.template]:
            raise ValueError(
                f"train.seq_len: {train.seq_len} is below the {LONGEST[self.template]} bytes that a needle and "
                f"its question can take (task.needle.template is {self.template})"
            )

    def check_data(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse lists of words that give no value to train on, or none for tests, or needles that are too long."""
        from titans_lab.data.hidden import check_words, read_words
        from titans_lab.data.needles import Words

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
        """Return where the haystack is from."""
        from titans_lab.data.hidden import needle_source

        return needle_source(self.kind, data.path)

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Return bytes, whatever the files are."""
        from titans_lab.data.tokenizer import BYTES

        return BYTES
