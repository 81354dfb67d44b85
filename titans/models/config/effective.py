"""What a model reads of its configuration, each thing in one spelling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from titans.mixers.registry import mixer, pattern, settings_classes
from titans.models.config.keys import reads_of_mixer
from titans.models.config.model import ModelConfig

#: What the blocks, the embedding and the output projection read, whatever the mixers.
BACKBONE = frozenset({"variant", "vocab_size", "dim", "n_layers", "mlp_ratio", "tie_embeddings"})


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration, or a frozen dataclass that holds some, as nested dictionaries.

    Settings of mixers' own stand under the mixer's name, those at their defaults too, as a study writes them.
    """
    values: dict[str, Any] = {}
    for name, value in vars(config).items():
        if name == "settings" and isinstance(config, ModelConfig):
            values |= {section: plain(config.settings_of(kind)) for section, kind in settings_classes().items()}
        else:
            values[name] = plain(value) if dataclasses.is_dataclass(value) else value
    return values


def effective(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that the model reads, as plain nested data: two models with equal ones are the same function.

    A transformer has no memory, a memory of depth 1 no hidden layer, and so on; what is not read has no part
    in a run's identity.
    """
    given = dict(_flat(plain(config)))
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
    """What one mixer reads: published sizes where null stands for them, and its own canonical spelling."""
    spec = mixer(name)
    values = {key: given[key] for key in reads_of_mixer(name)}
    for size, published in spec.published.items():
        if values[f"recurrent.{size}"] is None:
            values[f"recurrent.{size}"] = published
    return spec.canonical(config, values)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
