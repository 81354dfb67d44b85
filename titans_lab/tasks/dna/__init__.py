"""Settings of the task `dna`: prediction of the next base of a FASTA file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import TaskSettings
from titans_lab.tasks.text import TextSettings

if TYPE_CHECKING:
    from titans_lab.data.tokenizer import Tokenizer

BITS_PER_BASE = Metric("loss", "bits per base", column="loss")


@dataclass(frozen=True)
class DnaSettings(TextSettings):
    """Language modelling of the bases of a FASTA file, `data.path`. It has no settings of its own."""

    NAME: ClassVar[str] = "dna"
    FASTA: ClassVar[bool] = True
    SYMBOL: ClassVar[str] = "base"
    ORDERS: ClassVar[tuple[int, ...]] = (1, 3, 5, 7)
    LOSS: ClassVar[Metric] = BITS_PER_BASE
    METRIC: ClassVar[Metric] = BITS_PER_BASE

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary below the 256 bytes, and a missing FASTA file."""
        super().check(model, data, train)
        if data.path is None:
            raise ValueError("data.path: null, and the task dna reads bases; name a FASTA file")

    def tokenizer(self, model: ModelConfig, data: DataConfig, digest: str) -> Tokenizer:
        """Raise UserError, because bases are no text."""
        return TaskSettings.tokenizer(self, model, data, digest)
