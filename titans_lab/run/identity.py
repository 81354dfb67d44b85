"""Compute the ids of runs and models, and labels that tell models apart.

Equal ids mean equal numbers, whatever the study, path, device or logging.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

import titans
from titans.models.config import ModelConfig, effective, flatten
from titans_lab.plugins.loading import plugins_of
from titans_lab.run.config import Leaf, RunConfig, leaves, plain
from titans_lab.run.values import show

#: The trainer's version is raised when its numbers for the same configuration change. A task has its own `VERSION`.
VERSIONS = {"trainer": 2}


def versions(config: RunConfig) -> dict[str, int]:
    """Return the versions of model, operator, task and trainer, which decide a run's numbers."""
    return titans.VERSIONS | VERSIONS | {"task": config.task.settings.VERSION}


def run_id(config: RunConfig, seed: int, data_hash: str, parent: str | None = None) -> str:
    """Return the id of a run: 16 hexadecimal digits over everything that decides its numbers.

    Args:
        config: The configuration of the run.
        seed: The seed of its initial parameters and batches.
        data_hash: The hash of its data's content, which replaces the path.
        parent: The id of the run whose weights it begins with. None: its seed draws the initial values.
    """
    record = {
        "config": run_facts(config),
        "data_hash": data_hash,
        "seed": seed,
        "versions": versions(config),
    }
    if used := plugins_of(config.model.mixers, config.task.name):
        record["plugins"] = used
    if parent:
        record["parent"] = parent
    return _digest(record)


@lru_cache(maxsize=20_000)  # the seeds of a configuration have the same
def run_facts(config: RunConfig) -> dict[str, Any]:
    """Return the values of a configuration that decide its numbers, by dotted key."""
    return facts(leaves(), read_values(config))


def model_id(config: ModelConfig) -> str:
    """Return the id of a model: 16 hexadecimal digits, equal for models that are the same function."""
    model = {key.removeprefix("model."): leaf for key, leaf in leaves().items() if key.startswith("model.")}
    return _digest(facts(model, dict(flatten(effective(config)))))


def read_values(config: RunConfig) -> dict[str, Any]:
    """Return the values that a run reads, by dotted key."""
    task = config.task.settings
    return dict(
        flatten(
            {
                "model": effective(config.model),
                "data": {key: value for key, value in vars(config.data).items() if key in task.READS},
                "task": config.task.read(),
                "train": vars(config.train),
                "init": vars(config.init),
                "log": vars(config.log),
                "speed": vars(config.speed),
            }
        )
    )


def read_words(config: ModelConfig) -> dict[str, str]:
    """Return the values that a model reads, as text, by dotted key."""
    given = dict(flatten(plain(config)))
    names = (name for name, _ in flatten(effective(config)))
    return {name: given[name] if isinstance(given[name], str) else show(given[name]) for name in names}


def labels(models: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a label for each model.

    A label has the values in which models differ, such as "variant=mag memory.depth=2", or else the variant.

    Args:
        models: The `read_words` of each model and further values.
    """
    seen: dict[str, set[str]] = {}
    for name, value in (item for values in models for item in values.items()):
        seen.setdefault(name, set()).add(value)
    return [
        " ".join(f"{name}={value}" for name, value in values.items() if len(seen[name]) > 1) or values["variant"]
        for values in models
    ]


def facts(leaves: Mapping[str, Leaf], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that decide numbers: those in the identity that are not at their neutral value."""
    return {
        key: float(values[key]) + 0.0 if _is_float(leaf, values[key]) else values[key]  # + 0.0: no negative zero
        for key, leaf in leaves.items()
        if leaf.identity and key in values and values[key] != leaf.neutral
    }


def _digest(record: Mapping[str, Any]) -> str:
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _is_float(leaf: Leaf, value: Any) -> bool:
    return value is not None and (leaf.hint is float or float in get_args(leaf.hint))
