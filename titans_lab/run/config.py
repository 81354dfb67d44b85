"""The configuration of a run, as a frozen dataclass: its model, data, task, training, logging and speed.

Everything here but `LogConfig`, `SpeedConfig` and the fields marked `identity: False` decides the numbers, and so the
run's id. Every value has a dotted key, such as `model.memory.depth`; `leaves` lists them, `build` puts values where
their keys say. Mixers and tasks bring sections of their own, which are asked for whenever they are needed.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar, get_type_hints

from titans.mixers.registry import settings_classes, variants
from titans.models.config import ModelConfig, flatten
from titans.models.config import plain as model_plain
from titans_lab.run.origin import InitConfig
from titans_lab.run.sections import OUTSIDE, PROFILE_AFTER, DataConfig, LogConfig, SpeedConfig, TrainConfig
from titans_lab.run.values import brief
from titans_lab.tasks.registry import all_settings
from titans_lab.tasks.settings import TaskSettings

__all__ = [
    "PROFILE_AFTER",
    "DataConfig",
    "Impossible",
    "InitConfig",
    "Leaf",
    "LogConfig",
    "RunConfig",
    "SpeedConfig",
    "TaskConfig",
    "TrainConfig",
    "attributes",
    "build",
    "flatten",
    "layout",
    "leaves",
    "plain",
    "walk",
]

Config = TypeVar("Config")


@dataclass(frozen=True)
class TaskConfig:
    """The task that a model is trained on and measured by.

    Attributes:
        name: The name of the task.
        settings: The settings of the task, which a study sets as `task.<name>.<field>`.
    """

    name: str = field(default="text", metadata={"neutral": "text", "choices": all_settings})
    settings: TaskSettings = field(default=None, metadata={"sections": all_settings})  # type: ignore[assignment]

    def __post_init__(self) -> None:
        kind = all_settings().get(self.name)
        if kind is None:
            raise ValueError(f"name: there is no task {self.name!r}; the tasks are {', '.join(all_settings())}")
        if self.settings is None:
            object.__setattr__(self, "settings", kind())
        elif type(self.settings) is not kind:
            raise ValueError(f"settings: {type(self.settings).__name__} are not of the task {self.name}")

    def read(self) -> dict[str, Any]:
        """Return the fields that a run reads, as plain nested data."""
        return {"name": self.name, self.name: dict(vars(self.settings))}


@dataclass(frozen=True)
class RunConfig:
    """All that a study can set for a run, section by section."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    init: InitConfig = field(default_factory=InitConfig)
    log: LogConfig = field(default_factory=LogConfig, metadata=OUTSIDE)
    speed: SpeedConfig = field(default_factory=SpeedConfig, metadata=OUTSIDE)

    def __post_init__(self) -> None:
        self.task.settings.check(self.model, self.data, self.train)
        for length in self.train.lengths if self.train.schedule else ():
            self._check_length(length)
        needed = PROFILE_AFTER + self.speed.profile
        if self.speed.profile and self.train.steps < needed:
            raise ValueError(f"speed.profile: needs {needed} steps, and train.tokens come to {self.train.steps}")
        self._check_devices()
        self._check_noise_scale()
        if self.log.keep_state and self.train.ema is not None:
            raise ValueError("log.keep_state: no training goes on from averaged weights; set it to false")
        if not self.init.weights_only and self.train.optimizer == "muon":
            raise ValueError("init.weights_only: the state of muon is not taken over; set it to true")
        if self.model.leaks:
            raise ValueError(
                f"model.{self.model.leaks}: lets a token see later ones; a language model cannot be trained with it"
            )

    def _check_devices(self) -> None:
        """Refuse a batch that the devices cannot divide among them."""
        devices, train = self.speed.devices, self.train
        if devices > train.batch_size:
            raise ValueError(
                f"speed.devices: {devices} devices cannot divide a batch of {train.batch_size} among them; set it to "
                f"{train.batch_size} or less, or raise train.batch_size"
            )
        batches = [train.at_length(length).batch_size for length in train.lengths]
        if self.speed.shard and (uneven := [batch for batch in batches if batch % devices]):
            raise ValueError(
                f"speed.shard: needs the same number of sequences on each device, and {devices} (speed.devices) does "
                f"not divide a batch of {uneven[0]}; change speed.devices or train.batch_size, or set it to false"
            )
        if self.speed.shard and devices > 1 and train.optimizer == "muon":
            raise ValueError(
                "speed.shard: Muon needs whole matrices, of which each device has a part; set it to false, or choose "
                "another train.optimizer"
            )

    def _check_noise_scale(self) -> None:
        """Refuse to estimate the noise scale where a step has no gradient of a part of its batch."""
        if not self.log.noise_scale:
            return
        if self.speed.devices > 1:
            raise ValueError("log.noise_scale: needs one device, since several sum their gradients in each step")
        if 2 * self.micro_batch > self.train.batch_size:
            raise ValueError(
                "log.noise_scale: compares the gradient of a micro-batch with that of the whole batch; set "
                f"speed.micro_batch to at most half of train.batch_size ({self.train.batch_size})"
            )

    @property
    def micro_batch(self) -> int:
        """Return the examples in a forward pass on a device: `speed.micro_batch`, or all of a device's examples."""
        share = math.ceil(self.train.batch_size / self.speed.devices)
        return min(self.speed.micro_batch or share, share)

    def _check_length(self, length: int) -> None:
        """Refuse a length of the schedule that the task refuses as `train.seq_len`."""
        try:
            self.task.settings.check(self.model, self.data, self.train.at_length(length))
        except ValueError as error:
            raise ValueError(f"train.schedule: has a length of {length}, for which {error}") from error

    def at_length(self, length: int) -> RunConfig:
        """Return the run with sequences of one length of its schedule."""
        return dataclasses.replace(self, train=self.train.at_length(length))

    def data_digest(self) -> str:
        """Return the SHA-256 of the run's data in hex.

        Raise UserError where they cannot be read or do not fit the task.
        """
        return self.task.settings.digest(self.data)

    def data_source(self) -> str:
        """Return the origin of the run's data, without reading a file."""
        return self.task.settings.source(self.data)

    def data_paths(self) -> list[str]:
        """Return the files and folders that the run's data are read from."""
        data, settings = self.data, self.task.settings
        given = [getattr(data, key) for key in ("path", "valid_path", "test_path") if key in settings.READS]
        return [path for path in (*given, *(getattr(settings, name) for name in settings.PATHS)) if path is not None]

    def check_data(self) -> None:
        """Raise UserError where the data do not fit this run, before any worker starts."""
        for length in self.train.lengths | {self.train.seq_len: 0}:
            self.task.settings.check_data(self.model, self.data, self.train.at_length(length))


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value: its type, its default and its part in a run's identity.

    Attributes:
        hint: The declared type.
        default: The default value.
        identity: Whether it decides the numbers of a run.
        neutral: The value at which it has no part in the identity. MISSING: there is none.
    """

    hint: Any
    default: Any
    identity: bool
    neutral: Any


class Impossible(ValueError):
    """The values make no configuration. Each of `faults` begins with a dotted key and a colon."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def leaves() -> Mapping[str, Leaf]:
    """Return every value that a study can set, by dotted key, in the order of declaration."""
    return _leaves(variants(), tuple(settings_classes().items()), tuple(all_settings().items()))


def build(config: type[Config], values: Mapping[str, Any]) -> Config:
    """Return the configuration with these values of dotted keys, and its defaults elsewhere.

    A key that the configuration does not have is ignored, as is one of a task that is not chosen.

    Raises:
        Impossible: Some parts refuse their values. The error has all of their faults.
    """
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return _build(config, nested, "")


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dictionaries, as a study writes it, with the settings of its own task only."""
    if not isinstance(config, RunConfig):
        return model_plain(config)
    sections = vars(config).items()
    return {name: config.task.read() if name == "task" else model_plain(section) for name, section in sections}


def layout(config: Any) -> list[tuple[dataclasses.Field[Any], str, Any]]:
    """Return each field of a configuration with its key and its type, given the current registries.

    A field whose metadata has `choices` is one of those. A field whose metadata has `sections` stands for several
    configurations, each of which is a section of its own.
    """
    found: list[tuple[dataclasses.Field[Any], str, Any]] = []
    for each, hint in _declared(config):
        if "sections" in each.metadata:
            kinds = each.metadata["sections"]()
            found += [(each, name, kind) for name, kind in kinds.items() if dataclasses.fields(kind)]
        elif "choices" in each.metadata:
            found.append((each, each.name, Literal[tuple(each.metadata["choices"]())]))
        else:
            found.append((each, each.name, hint))
    return found


def attributes(config: Any) -> dict[str, str]:
    """Return the description of each attribute from the docstrings, in Google's style, of a class and its bases."""
    entries: list[tuple[str, str]] = []
    for each in reversed(inspect.getmro(config)):
        _, _, listed = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        entries += re.findall(r"^    (\w+): (.*(?:\n      .*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@lru_cache(maxsize=8)
def _leaves(*registered: object) -> Mapping[str, Leaf]:
    return dict(walk(RunConfig))


def walk(config: Any, prefix: str = "", identity: bool = True) -> Iterator[tuple[str, Leaf]]:
    """Yield each leaf below a dataclass with its dotted key, in the order of declaration."""
    for each, name, hint in layout(config):
        inside = identity and each.metadata.get("identity", True)
        if dataclasses.is_dataclass(hint):
            yield from walk(hint, f"{prefix}{name}.", inside)
        else:
            yield prefix + name, Leaf(hint, each.default, inside, each.metadata.get("neutral", MISSING))


@cache
def _declared(config: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(config)
    return [(each, hints[each.name]) for each in dataclasses.fields(config)]


def _build(config: Any, nested: Mapping[str, Any], prefix: str) -> Any:
    arguments: dict[str, Any] = {}
    faults: list[str] = []

    def section(kind: Any, name: str) -> Any:
        inner = nested.get(name, {})
        if not isinstance(inner, Mapping):
            faults.append(f"{prefix}{name}: {brief(inner)} is a value, not a section")
            return None
        try:
            return _build(kind, inner, f"{prefix}{name}.")
        except Impossible as error:
            faults.extend(error.faults)

    for each, hint in _declared(config):
        if "sections" in each.metadata:
            kinds = each.metadata["sections"]()
            if config is TaskConfig:
                name = arguments.get("name", "text")
                arguments[each.name] = section(kinds[name], name) if name in kinds else None
            else:
                arguments[each.name] = tuple(section(kind, name) for name, kind in kinds.items() if name in nested)
        elif each.name in nested and dataclasses.is_dataclass(hint):
            arguments[each.name] = section(hint, each.name)
        elif isinstance(nested.get(each.name), Mapping):
            faults.append(f"{prefix}{each.name}: a section, not a value")
        elif each.name in nested:
            arguments[each.name] = nested[each.name]
    if faults:
        raise Impossible(faults)
    try:
        return config(**arguments)
    except ValueError as error:
        raise Impossible([prefix + str(error)]) from error
