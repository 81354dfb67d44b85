"""Settings of the task `genome`: classification of DNA sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import Ends, TaskSettings, check_vocabulary

ACCURACY = Metric("accuracy", "share of sequences", "maximize", column="score")
MATTHEWS = Metric("mcc", "Matthews correlation", "maximize")
LETTERS = 5  # A, C, G, T, and N for an unknown base


@dataclass(frozen=True)
class GenomeSettings(TaskSettings):
    """Classification of DNA sequences: GenomicBenchmarks, GUE.

    `data.path` is the training file. `data.valid_path` and `data.test_path` are the other parts. For each that is not
    set, `data.valid_fraction` of the training sequences are held out. A sequence is cut after `train.seq_len` bases.

    Attributes:
        classes: The number of different labels in the training file.
    """

    NAME: ClassVar[str] = "genome"
    TASK: ClassVar[str] = "titans_lab.tasks.genome.task:GenomeTask"
    READS: ClassVar[frozenset[str]] = frozenset({"path", "valid_path", "test_path", "valid_fraction"})
    LOSS: ClassVar[Metric] = Metric("loss", "nats per sequence", column="loss")
    METRIC: ClassVar[Metric] = ACCURACY

    classes: int = 2

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes} is below 2")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the letters, and a missing training file."""
        check_vocabulary(model, LETTERS, "letters A, C, G, T and N")
        if data.path is None:
            raise ValueError("data.path: null, and the task genome reads labelled sequences; name a CSV or TSV file")

    def warnings(self, data: DataConfig) -> list[str]:
        """Return a warning for each validation or test file that is the training file."""
        from titans_lab.data.genome import genome_warnings

        return genome_warnings(data, self.classes)

    def digest(self, data: DataConfig) -> str:
        """Return the hash over the content of all files."""
        from titans_lab.data.genome import genome_digest

        return genome_digest(data, self.classes)

    def source(self, data: DataConfig) -> str:
        """Return the training file's path."""
        return str(data.path)

    def ends(self, model: ModelConfig, length: int) -> Ends:
        """Return the cost of the embedding, the norm, and the head, which is applied once per sequence."""
        head = model.dim * self.classes
        return Ends(model.vocab_size * model.dim + model.dim + head + self.classes, head // length)
