"""The section `task`: which task a run is trained on, and the settings of each, one file a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from titans_lab.study.tasks.mqar import MqarSettings
from titans_lab.study.tasks.settings import Measure, TaskSettings
from titans_lab.study.tasks.text import TextSettings

__all__ = ["Measure", "TaskConfig", "TaskSettings"]

TaskName = Literal[
    "text",
    "mqar",
]


@dataclass(frozen=True)
class TaskConfig:
    """What a model is trained on and measured by; a run reads the settings of its own task alone.

    Attributes:
        name: The task.
        mqar: Multi-query associative recall.
    """

    name: TaskName = field(default="text", metadata={"neutral": "text"})
    mqar: MqarSettings = field(default_factory=MqarSettings)

    @property
    def settings(self) -> TaskSettings:
        """Those of the task; the text has none of its own."""
        return TextSettings() if self.name == "text" else getattr(self, self.name)

    def read(self) -> dict[str, Any]:
        """The fields that a run reads, as plain nested data."""
        return {"name": self.name, self.name: dataclasses.asdict(self.settings)}  # type: ignore[call-overload]
