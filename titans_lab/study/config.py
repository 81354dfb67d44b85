"""What one run is: the model, its data, its task, its training and its logging, as frozen configurations.

Everything here but `LogConfig`, `SpeedConfig` and the fields marked `identity: False` decides the numbers, and so the
run's id.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any, Literal

from titans.models.config import ModelConfig
from titans_lab.study.sections import OUTSIDE, PROFILE_AFTER, DataConfig, LogConfig, SpeedConfig, TrainConfig
from titans_lab.tasks.registry import all_settings
from titans_lab.tasks.settings import TaskSettings

__all__ = ["PROFILE_AFTER", "DataConfig", "LogConfig", "RunConfig", "SpeedConfig", "TaskConfig", "TrainConfig"]


class _TaskSection:
    """What a model is trained on and measured by; a run reads the settings of its own task alone."""

    name: str

    @property
    def settings(self) -> TaskSettings:
        """The settings of the task that `name` names."""
        return getattr(self, self.name, None) or all_settings()[self.name]()

    def read(self) -> dict[str, Any]:
        """Return the fields that a run reads, as plain nested data."""
        return {"name": self.name, self.name: dataclasses.asdict(self.settings)}  # type: ignore[call-overload]


if TYPE_CHECKING:

    class TaskConfig(_TaskSection):
        def __init__(self, name: str = "text", **settings: TaskSettings) -> None: ...

else:
    # A field for the name, and one for each registered task that has something to set.
    _sections = {name: settings for name, settings in all_settings().items() if dataclasses.fields(settings)}
    TaskConfig = make_dataclass(
        "TaskConfig",
        [
            ("name", Literal[tuple(all_settings())], field(default="text", metadata={"neutral": "text"})),
            *((name, settings, field(default_factory=settings)) for name, settings in _sections.items()),
        ],
        bases=(_TaskSection,),
        frozen=True,
    )
    _lines = [f"{name}: {settings.__doc__.splitlines()[0]}" for name, settings in _sections.items()]
    _doc = "\n        ".join(["Attributes:", "name: The task.", *_lines])
    TaskConfig.__module__, TaskConfig.__doc__ = __name__, f"{_TaskSection.__doc__}\n\n    {_doc}\n"


@dataclass(frozen=True)
class RunConfig:
    """All that a study can set for a run, section by section."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    log: LogConfig = field(default_factory=LogConfig, metadata=OUTSIDE)
    speed: SpeedConfig = field(default_factory=SpeedConfig, metadata=OUTSIDE)

    def __post_init__(self) -> None:
        self.task.settings.check(self.model, self.data, self.train)
        needed = PROFILE_AFTER + self.speed.profile
        if self.speed.profile and self.train.steps < needed:
            raise ValueError(f"speed.profile: needs {needed} steps, and train.tokens come to {self.train.steps}")
        if self.model.leaks:
            raise ValueError(
                f"model.{self.model.leaks}: lets a token see later ones; a language model cannot be trained with it"
            )

    def data_digest(self) -> str:
        """Return the SHA-256 of the run's data in hex; UserError where they cannot be read or do not serve."""
        return self.task.settings.digest(self.data)

    def data_source(self) -> str:
        """Return where the run's data are from, for people; reads no file."""
        return self.task.settings.source(self.data)

    def data_paths(self) -> list[str]:
        """Return the files and folders that the run's data are read from."""
        data, settings = self.data, self.task.settings
        given = [getattr(data, key) for key in ("path", "valid_path", "test_path") if key in settings.READS]
        return [path for path in (*given, *(getattr(settings, name) for name in settings.PATHS)) if path is not None]

    def check_data(self) -> None:
        """Refuse data that do not serve this run, before any worker starts; UserError."""
        self.task.settings.check_data(self.model, self.data, self.train)
