"""Which models a study's configurations come to once they are reduced, and the name of what the store knows of one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import titans
from titans.models.config import ModelConfig, Variant, effective
from titans_lab.environment import library_version
from titans_lab.executors.devices import Device
from titans_lab.study.identity import flatten
from titans_lab.study.values import show
from titans_lab.verify.reduced import for_model, for_operator

PRECISIONS = ("float64", "float32", "bfloat16")
KERNEL = "chunk"  # the form of the operator that a layer holds


class Subject(NamedTuple):
    """A configuration to verify, the first of those that reduce to the same one, and what tells it from the others."""

    label: str
    config: ModelConfig


class Asked(NamedTuple):
    """A subject, and the precisions to verify it in."""

    subject: Subject
    precisions: tuple[str, ...]


def defaults() -> list[ModelConfig]:
    """The default configuration of each variant."""
    return [ModelConfig(variant=variant) for variant in get_args(Variant)]


def subjects(configs: Iterable[ModelConfig]) -> list[Subject]:
    """The distinct ones, in order."""
    distinct: dict[str, ModelConfig] = {}
    for config in dict.fromkeys(configs):
        distinct.setdefault(json.dumps(_reduced(config)), config)
    found = list(distinct.values())
    return [Subject(label, config) for label, config in zip(_labels(found), found, strict=True)]


def facts(config: ModelConfig, precision: str, device: Device) -> dict[str, Any]:
    """All that could make a verification come out otherwise."""
    return {
        "models": _reduced(config),
        "precision": precision,
        "device": [device.kind, device.hardware],
        "torch": library_version("torch"),
        "kernel": KERNEL,
        "versions": titans.VERSIONS,
        "code": code_digest(),
    }


def key(about: Mapping[str, Any]) -> str:
    """The name of a verification: 16 hexadecimal digits over its facts."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Of the source of the models and of their checks: what was verified before an edit says nothing after it."""
    here = Path(__file__).parent
    sources = [*Path(str(titans.__file__)).parent.rglob("*.py"), *here.glob("*.py"), here.parent / "precision.py"]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:16]


def _reduced(config: ModelConfig) -> list[dict[str, Any]]:
    return [effective(for_operator(config)), effective(for_model(config))]


def _labels(configs: Sequence[ModelConfig]) -> list[str]:
    """The values in which those that read them differ: "variant=mag memory.depth=2"; the variant where none does."""
    read = [_read(config) for config in configs]
    seen: dict[str, set[str]] = {}
    for name, value in (item for values in read for item in values.items()):
        seen.setdefault(name, set()).add(value)
    return [
        " ".join(f"{name}={value}" for name, value in values.items() if len(seen[name]) > 1) or values["variant"]
        for values in read
    ]


def _read(config: ModelConfig) -> dict[str, str]:
    """The values that a model reads, as they were given."""
    given = dict(flatten(dataclasses.asdict(config)))
    names = (name for name, _ in flatten(effective(config)))
    return {name: given[name] if isinstance(given[name], str) else show(given[name]) for name in names}
