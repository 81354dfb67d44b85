"""What a task says of itself without torch: its fields, its measures, what it reads of the data, and what fits it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from titans.models.config import ModelConfig

if TYPE_CHECKING:
    from titans_lab.study.config import RunConfig


#: Metadata of a field that names a file or folder: the data's hash stands for its content in a run's identity.
PATH = {"identity": False}


@dataclass(frozen=True)
class Measure:
    """A figure that runs are judged by.

    Attributes:
        name: One word: "loss", "accuracy".
        unit: Of its values: "bits per byte", "share of answers".
        direction: Which values are better.
        taken: Of a run, its last value or its best one.
    """

    name: str
    unit: str
    direction: Literal["minimize", "maximize"] = "minimize"
    taken: Literal["final", "best"] = "final"

    @property
    def label(self) -> str:
        """Name and unit, for an axis."""
        return f"{self.name}, {self.unit}"


class Ends(NamedTuple):
    """What a model costs outside of its blocks: parameters, and multiply-adds a token of a forward pass."""

    parameters: int
    products: int


class TaskSettings(ABC):
    """The base of a frozen dataclass for each task; its fields are what a study can set under `task.<name>`.

    Attributes:
        VERSION: Raised when the numbers that the task gives for the same settings change.
        PATHS: Fields that name a file or folder; a run's record has them absolute.
        READS: Keys of the section `data` that the task reads: of its runs' identity are these alone.
        LOSS: What training lowers, and the column `loss`.
        METRIC: What the task is known for, and the column `score`; may be `LOSS` itself.
    """

    VERSION: ClassVar[int] = 1
    PATHS: ClassVar[tuple[str, ...]] = ()
    READS: ClassVar[frozenset[str]] = frozenset()
    LOSS: ClassVar[Measure]
    METRIC: ClassVar[Measure]

    @abstractmethod
    def check(self, config: RunConfig) -> None:
        """ValueError, beginning with a dotted key and a colon, where model, data or training do not fit the task."""

    def ends(self, model: ModelConfig, length: int) -> Ends:
        """Of an embedding, a norm and an output projection over the vocabulary; a task with another head says so.

        Args:
            model: The model.
            length: Tokens of a sequence.
        """
        table = model.vocab_size * model.dim
        return Ends((1 if model.tie_embeddings else 2) * table + model.dim, table)


def check_vocabulary(config: RunConfig, needed: int, what: str) -> None:
    """ValueError where the model has fewer tokens than `what` has values."""
    if config.model.vocab_size < needed:
        raise ValueError(f"model.vocab_size: {config.model.vocab_size} is below the {needed} {what}")


def check_bytes(config: RunConfig) -> None:
    """ValueError where the model has fewer tokens than there are bytes."""
    check_vocabulary(config, 256, "values of a byte")


def check_examples(config: RunConfig, task: str, examples: int | None) -> None:
    """ValueError where a training set is less than a batch."""
    if examples is not None and examples < config.train.batch_size:
        raise ValueError(
            f"task.{task}.examples: {examples} are less than a batch ({config.train.batch_size}, train.batch_size)"
        )
