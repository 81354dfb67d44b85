"""Settings of the tasks on DNA: classification of sequences, and prediction of the next base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from titans.models.config import ModelConfig
from titans_lab.study.tasks.settings import Ends, Measure, TaskSettings, check_vocabulary
from titans_lab.study.tasks.text import TextSettings

if TYPE_CHECKING:
    from titans_lab.study.config import RunConfig

ACCURACY = Measure("accuracy", "share of sequences", "maximize")
MATTHEWS = Measure("mcc", "Matthews correlation", "maximize")
BITS_PER_BASE = Measure("loss", "bits per base")
LETTERS = 5  # A, C, G, T, and N for an unknown base


@dataclass(frozen=True)
class GenomeSettings(TaskSettings):
    """Classification of DNA sequences: GenomicBenchmarks, GUE.

    `data.path` is the file to train on; `data.valid_path` and `data.test_path` are the others. For each that is not
    there, `data.valid_fraction` of the sequences of the first are held out. What is beyond the first `train.seq_len`
    bases of a sequence is cut off.

    Attributes:
        classes: Different labels of the training file.
    """

    READS: ClassVar[frozenset[str]] = frozenset({"path", "valid_path", "test_path", "valid_fraction"})
    LOSS: ClassVar[Measure] = Measure("loss", "nats per sequence")
    METRIC: ClassVar[Measure] = ACCURACY

    classes: int = 2

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes} is below 2")

    def check(self, config: RunConfig) -> None:
        """A token for each letter, and a file to read."""
        check_vocabulary(config, LETTERS, "letters A, C, G, T and N")
        if config.data.path is None:
            raise ValueError("data.path: null, and the task genome reads labelled sequences; name a CSV or TSV file")

    def ends(self, model: ModelConfig, length: int) -> Ends:
        """Of the embedding, the norm, and the head, which reads a sequence once."""
        head = model.dim * self.classes
        return Ends(model.vocab_size * model.dim + model.dim + head + self.classes, head // length)


@dataclass(frozen=True)
class DnaSettings(TextSettings):
    """The next base of a FASTA file, `data.path`, as a language model's next byte; nothing to set."""

    FASTA: ClassVar[bool] = True
    SYMBOL: ClassVar[str] = "base"
    ORDERS: ClassVar[tuple[int, ...]] = (1, 3, 5, 7)
    LOSS: ClassVar[Measure] = BITS_PER_BASE
    METRIC: ClassVar[Measure] = BITS_PER_BASE

    def check(self, config: RunConfig) -> None:
        """A token for each letter, as a byte, and a file to read."""
        super().check(config)
        if config.data.path is None:
            raise ValueError("data.path: null, and the task dna reads bases; name a FASTA file")
