"""The section `task`: which task a run is trained on, and the settings of each, one file a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from titans_lab.study.tasks.babilong import BabilongSettings
from titans_lab.study.tasks.genome import DnaSettings, GenomeSettings
from titans_lab.study.tasks.mad import (
    CompressionSettings,
    FuzzyRecallSettings,
    MemorizationSettings,
    NoisyRecallSettings,
    RecallSettings,
    SelectiveCopyingSettings,
)
from titans_lab.study.tasks.mqar import MqarSettings
from titans_lab.study.tasks.needle import NeedleSettings
from titans_lab.study.tasks.series import SeriesSettings
from titans_lab.study.tasks.settings import TaskSettings
from titans_lab.study.tasks.text import TextSettings

__all__ = ["TaskConfig", "TaskSettings"]

TaskName = Literal[
    "text",
    "mqar",
    "in_context_recall",
    "noisy_in_context_recall",
    "fuzzy_in_context_recall",
    "selective_copying",
    "memorization",
    "compression",
    "series",
    "genome",
    "dna",
    "needle",
    "babilong",
]


@dataclass(frozen=True)
class TaskConfig:
    """What a model is trained on and measured by; a run reads the settings of its own task alone.

    Attributes:
        name: The task.
        mqar: Multi-query associative recall.
        in_context_recall: MAD: values of keys that came before.
        noisy_in_context_recall: MAD: the same among noise.
        fuzzy_in_context_recall: MAD: the same with keys and values of several tokens.
        selective_copying: MAD: tokens among blanks, in their order.
        memorization: MAD: facts that are the same everywhere.
        compression: MAD: a whole sequence out of one place.
        series: Forecasts of a time series.
        genome: Classification of DNA sequences.
        dna: Prediction of the next base.
        needle: A fact in a haystack.
        babilong: The facts of a story in a book.
    """

    name: TaskName = field(default="text", metadata={"neutral": "text"})
    mqar: MqarSettings = field(default_factory=MqarSettings)
    in_context_recall: RecallSettings = field(default_factory=RecallSettings)
    noisy_in_context_recall: NoisyRecallSettings = field(default_factory=NoisyRecallSettings)
    fuzzy_in_context_recall: FuzzyRecallSettings = field(default_factory=FuzzyRecallSettings)
    selective_copying: SelectiveCopyingSettings = field(default_factory=SelectiveCopyingSettings)
    memorization: MemorizationSettings = field(default_factory=MemorizationSettings)
    compression: CompressionSettings = field(default_factory=CompressionSettings)
    series: SeriesSettings = field(default_factory=SeriesSettings)
    genome: GenomeSettings = field(default_factory=GenomeSettings)
    dna: DnaSettings = field(default_factory=DnaSettings)
    needle: NeedleSettings = field(default_factory=NeedleSettings)
    babilong: BabilongSettings = field(default_factory=BabilongSettings)

    @property
    def settings(self) -> TaskSettings:
        """Those of the task; the text has none of its own."""
        return TextSettings() if self.name == "text" else getattr(self, self.name)

    def read(self) -> dict[str, Any]:
        """The fields that a run reads, as plain nested data."""
        return {"name": self.name, self.name: dataclasses.asdict(self.settings)}  # type: ignore[call-overload]
