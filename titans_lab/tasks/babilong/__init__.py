"""Settings of the task `babilong`: bAbI stories hidden in a book (arXiv 2406.10149)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from titans.models.config import ModelConfig
from titans_lab.errors import UserError
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig, expand_paths
from titans_lab.tasks.settings import PATH, TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class BabilongSettings(TaskSettings):
    """Facts of a bAbI story between the sentences of a book, then a question about them (arXiv 2406.10149).

    A sequence has `train.seq_len` bytes, question and answer included. Longer stories are left out. One story in twenty
    is for validation and one for tests, and so is each half of the book's last tenth. The book is `data.path`, a file
    or a folder of books. By default it is Python's documentation.

    Attributes:
        facts: A bAbI file, such as qa1_single-supporting-fact_train.txt, plain or gzip.
        loss: The tokens that the loss is over: those of the "answer", or "all".
        test_examples: The number of test questions, and of validation questions, which have the same length.
        questions: The most questions that a training sequence asks. The last stands at the end of the sequence, as in
            validation and tests. Before it are the story's questions that precede it, with their answers: each anywhere
            between the facts that it stands between in the story, as far as the length has room.
    """

    NAME: ClassVar[str] = "babilong"
    TASK: ClassVar[str] = "titans_lab.tasks.babilong.task:BabilongTask"
    VERSION: ClassVar[int] = 2  # 2: half of the held-out stories and text are for validation
    LOSS: ClassVar[Metric] = Metric("loss", "nats per token", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of answers", "maximize", column="score")
    PATHS: ClassVar[tuple[str, ...]] = ("facts",)
    READS: ClassVar[frozenset[str]] = frozenset({"path"})

    facts: str | None = field(default=None, metadata=PATH)
    loss: Literal["answer", "all"] = "answer"
    test_examples: int = 200
    questions: int = field(default=1, metadata={"neutral": 1})

    def __post_init__(self) -> None:
        expand_paths(self, self.PATHS)
        for name in ("test_examples", "questions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the 256 bytes, and a missing file of stories."""
        if self.facts is None:
            raise ValueError("task.babilong.facts: null; name a file of bAbI stories")
        check_bytes(model)

    def check_data(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse stories of which none fits into a sequence, for training or for tests."""
        from titans_lab.data.babi import shortest
        from titans_lab.data.hidden import PURPOSE, babilong_contents
        from titans_lab.data.parts import PARTS

        contents = babilong_contents(self.facts, data.path)
        for part in PARTS:
            if (least := shortest(contents, part)) > train.seq_len + 1:
                raise UserError(
                    f"train.seq_len: {train.seq_len} is too short for any story {PURPOSE[part]}: the shortest one "
                    f"takes {least - 1} bytes; set train.seq_len={least - 1} or more"
                )

    def digest(self, data: DataConfig) -> str:
        """Return the hash over the stories and the book."""
        from titans_lab.data.hidden import babilong_contents

        return babilong_contents(self.facts, data.path).digest

    def source(self, data: DataConfig) -> str:
        """Return the paths of the stories and of the book."""
        from titans_lab.data.hidden import babilong_source

        return babilong_source(self.facts, data.path)

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Return the byte tokenizer."""
        from titans_lab.data.tokenizer import BYTES

        return BYTES
