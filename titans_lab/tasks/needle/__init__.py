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
        needles: The number of needles in a sequence, each with a key of its own. One of them is asked for.
        questions: The number of needles that a training sequence asks for, each once. One question stands at the end of
            the sequence, as in validation and tests. The others, with their answers, stand anywhere after their
            needles.
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
    needles: int = field(default=1, metadata={"neutral": 1})
    questions: int = field(default=1, metadata={"neutral": 1})
    words: str | None = field(default=None, metadata=PATH)

    def __post_init__(self) -> None:
        expand_paths(self, self.PATHS)
        for name in ("test_examples", "needles", "questions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.questions > self.needles:
            raise ValueError(f"questions: {self.questions} are more than needles ({self.needles}), each asked for once")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the 256 bytes, and sequences that are too short for a needle of built-in words."""
        check_bytes(model)
        longest = self._longest(Words.of())
        if self.words is None and train.seq_len < longest:
            raise ValueError(
                f"train.seq_len: {train.seq_len} is below the {longest} bytes that {self._words()} can take "
                f"(task.needle.kind is {self.kind}, task.needle.template is {self.template})"
            )

    def _longest(self, words: Words) -> int:
        """Return the tokens of the longest sequence without a haystack; the last byte is no input."""
        return words.longest(self.kind, self.template, self.needles, self.questions) - 1

    def _words(self) -> str:
        """Return what a sequence contains, in words."""
        if self.needles == 1:
            return "a needle and its question"
        return f"{self.needles} needles and {self.questions} of their questions"

    def check_data(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse word lists that give no value for training, or none for tests, and needles that are too long."""
        from titans_lab.data.hidden import check_words, read_words

        if self.words is None:
            return
        if self.kind == "word":
            check_words(self.words)
        if (longest := self._longest(Words.of(read_words(self.words)))) > train.seq_len:
            raise UserError(
                f"train.seq_len: {train.seq_len} is too short for the longest words of {self.words}: {self._words()} "
                f"take {longest} bytes; set train.seq_len={longest} or more, or give shorter words"
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
