"""The part of a configuration that a model reads, in one spelling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from titans.mixers.registry import mixer, pattern, settings_classes
from titans.models.config.keys import reads_of_mixer
from titans.models.config.memory import MemoryConfig
from titans.models.config.model import ModelConfig
from titans.models.config.recurrent import RecurrentConfig

Section = TypeVar("Section")

#: The keys that every model reads, whatever its mixers.
BACKBONE = frozenset({"variant", "vocab_size", "dim", "n_layers", "mlp_ratio", "tie_embeddings"})


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration, or a frozen dataclass that holds some, as nested dictionaries.

    A mixer's own settings are under the mixer's name, including those at their defaults, as a study writes them.
    """
    values: dict[str, Any] = {}
    for name, value in vars(config).items():
        if name == "settings" and isinstance(config, ModelConfig):
            values |= {section: plain(config.settings_of(kind)) for section, kind in settings_classes().items()}
        else:
            values[name] = plain(value) if dataclasses.is_dataclass(value) else value
    return values


def from_plain(values: Mapping[str, Any]) -> ModelConfig:
    """Return the configuration that `plain` was made of. Fields that are missing have their defaults.

    Raises:
        ValueError: A field is unknown, or a value is of another type or not allowed. The message names the field.
    """
    given = dict(values)
    settings: list[Any] = [
        _section(name, kind, given.pop(name)) for name, kind in settings_classes().items() if name in given
    ]
    for name, kind in (("memory", MemoryConfig), ("recurrent", RecurrentConfig)):
        if name in given:
            given[name] = _section(name, kind, given[name])
    return _section("", ModelConfig, given | {"settings": tuple(settings)})


def _section(name: str, kind: type[Section], values: Mapping[str, Any]) -> Section:
    """Return a frozen dataclass of these fields. `name` is its own in messages."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for field in values:
        if field not in known:
            raise ValueError(f"{f'{name}.' if name else ''}{field}: this version of titans has no such field")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{name or 'model'}: {error}") from error


def effective(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that the model reads, as nested dictionaries. Models with equal ones are the same function.

    A transformer reads nothing of the memory, and a memory of depth 1 has no hidden layer, for example. What a model
    does not read has no part in the identity of its runs. Where a field's value has two spellings, the mixers'
    specifications choose one; where they differ, the field stays as it was given.
    """
    given = dict(flatten(plain(config)))
    mixers = [_canonical(config, name, given) for name in pattern(config.variant)]
    fields: dict[str, Any] = {}
    for key, value in given.items():
        found = [values[key] for values in mixers if key in values]
        if not found and key not in BACKBONE:
            continue
        agreed = found[0] if found and all(each == found[0] for each in found) else value
        section, _, name = key.rpartition(".")
        (fields.setdefault(section, {}) if section else fields)[name] = agreed
    return fields


def _canonical(config: ModelConfig, name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that one mixer reads, with published sizes in the place of null, in the canonical spelling."""
    spec = mixer(name)
    values = {key: given[key] for key in reads_of_mixer(name)}
    for size, published in spec.published.items():
        if values[f"recurrent.{size}"] is None:
            values[f"recurrent.{size}"] = published
    return spec.canonical(config, values)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dictionaries by dotted key."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
