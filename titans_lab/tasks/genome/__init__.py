"""Settings of the task `genome`: classification of DNA sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from titans.models.config import ModelConfig
from titans_lab.study.metric import Metric
from titans_lab.study.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import Ends, TaskSettings, check_vocabulary

ACCURACY = Metric("accuracy", "share of sequences", "maximize", column="score")
MATTHEWS = Metric("mcc", "Matthews correlation", "maximize")
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
        """A token for each letter, and a file to read."""
        check_vocabulary(model, LETTERS, "letters A, C, G, T and N")
        if data.path is None:
            raise ValueError("data.path: null, and the task genome reads labelled sequences; name a CSV or TSV file")

    def warnings(self, data: DataConfig) -> list[str]:
        """Name files to validate or test on that are the training file."""
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
        """Of the embedding, the norm, and the head, which reads a sequence once."""
        head = model.dim * self.classes
        return Ends(model.vocab_size * model.dim + model.dim + head + self.classes, head // length)
