"""Which models a study's configurations come to once they are reduced, and the name of what the store knows of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import titans
from titans.mixers import registry
from titans.models.config import ModelConfig, effective
from titans_lab.environment import library_version
from titans_lab.executors.devices import Device
from titans_lab.study.identity import labels, read_words
from titans_lab.verify.reduced import for_model, for_operator

PRECISIONS = ("float64", "float32", "bfloat16")


class Subject(NamedTuple):
    """A configuration to verify, the first of those that reduce to the same one, and what tells it from the others."""

    label: str
    config: ModelConfig


class Asked(NamedTuple):
    """A subject, the precisions to verify it in, and the operator's kernel."""

    subject: Subject
    precisions: tuple[str, ...]
    kernel: str = "auto"


def defaults() -> list[ModelConfig]:
    """The default configuration of each variant, with enough blocks for all of its mixers."""
    variants = registry.variants()
    blocks = max(len(registry.pattern(variant)) for variant in variants)
    return [ModelConfig(variant=variant, n_layers=blocks) for variant in variants]


def subjects(configs: Iterable[ModelConfig]) -> list[Subject]:
    """The distinct ones, in order."""
    distinct: dict[str, ModelConfig] = {}
    for config in dict.fromkeys(configs):
        distinct.setdefault(json.dumps(_reduced(config)), config)
    found = list(distinct.values())
    words = labels([read_words(config) for config in found])
    return [Subject(label, config) for label, config in zip(words, found, strict=True)]


def facts(config: ModelConfig, precision: str, device: Device, kernel: str = "auto") -> dict[str, Any]:
    """All that could make a verification come out otherwise."""
    return {
        "models": _reduced(config),
        "precision": precision,
        "device": [device.kind, device.hardware],
        "torch": library_version("torch"),
        "kernel": kernel,
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
    sources = [
        *Path(str(titans.__file__)).parent.rglob("*.py"),
        *here.glob("*.py"),
        here.parent / "training" / "precision.py",
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:16]


def _reduced(config: ModelConfig) -> list[dict[str, Any]]:
    return [effective(for_operator(config)), effective(for_model(config))]
