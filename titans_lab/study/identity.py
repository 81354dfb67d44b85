"""What makes two runs the same run: equal ids mean equal numbers, whatever the study, path, device or logging."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, get_args

import titans
from titans.models.config import ModelConfig, effective
from titans_lab.plugins.loading import plugins_of
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import LEAVES, Leaf

#: Raised when the numbers that the trainer gives for the same configuration change; a task has its own `VERSION`.
VERSIONS = {"trainer": 1}


def versions(config: RunConfig) -> dict[str, int]:
    """Of the parts that decide a run's numbers."""
    return titans.VERSIONS | VERSIONS | {"task": config.task.settings.VERSION}


def run_id(config: RunConfig, seed: int, data_hash: str) -> str:
    """The name of a run: 16 hexadecimal digits over everything that decides its numbers.

    Args:
        config: What the run is.
        seed: Of its initial values and batches.
        data_hash: Of the content of its data, which stands for the path.
    """
    record = {
        "config": _run_facts(config),
        "data_hash": data_hash,
        "seed": seed,
        "versions": versions(config),
    }
    if used := plugins_of(config.model.mixers, config.task.name):
        record["plugins"] = used
    return _digest(record)


@lru_cache(maxsize=1)  # the seeds of a configuration follow one another
def _run_facts(config: RunConfig) -> dict[str, Any]:
    return facts(LEAVES, read_values(config))


def model_id(config: ModelConfig) -> str:
    """16 hexadecimal digits over the facts of a model alone, equal for two that are the same function."""
    model = {key.removeprefix("model."): leaf for key, leaf in LEAVES.items() if key.startswith("model.")}
    return _digest(facts(model, dict(flatten(effective(config)))))


def read_values(config: RunConfig) -> dict[str, Any]:
    """The values that a run reads, by dotted key."""
    sections = {name: vars(section) for name, section in vars(config).items() if name not in ("model", "task")}
    sections["data"] = {key: value for key, value in sections["data"].items() if key in config.task.settings.READS}
    return dict(flatten({"model": effective(config.model), "task": config.task.read(), **sections}))


def facts(leaves: Mapping[str, Leaf], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that decide numbers: neither outside the identity nor at their neutral value."""
    return {
        key: float(values[key]) + 0.0 if _is_float(leaf, values[key]) else values[key]  # + 0.0: no negative zero
        for key, leaf in leaves.items()
        if leaf.identity and key in values and values[key] != leaf.neutral
    }


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted key."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _digest(record: Mapping[str, Any]) -> str:
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _is_float(leaf: Leaf, value: Any) -> bool:
    return value is not None and (leaf.hint is float or float in get_args(leaf.hint))
