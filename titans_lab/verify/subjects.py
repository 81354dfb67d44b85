"""Choose the models to verify for a study, and name the record of the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import titans
from titans.mixers import registry
from titans.models.config import ModelConfig, effective
from titans_lab.environment import library_version
from titans_lab.executors.devices import Device
from titans_lab.run.config import RunConfig
from titans_lab.run.derived import kernel
from titans_lab.run.identity import labels, read_words
from titans_lab.run.run import Run
from titans_lab.verify.reduced import for_model, for_operator

PRECISIONS = ("float64", "float32", "bfloat16")


class VerifiedModel(NamedTuple):
    """A model to verify.

    Attributes:
        label: The values in which it differs from the other models.
        config: The configuration: the first of those that reduce to the same one.
    """

    label: str
    config: ModelConfig


class Verification(NamedTuple):
    """A model to verify, in some precisions, with a kernel of the memory operator."""

    subject: VerifiedModel
    precisions: tuple[str, ...]
    kernel: str = "auto"


def of_defaults(device: str) -> list[Verification]:
    """Return the verification of each variant's default configuration, with the kernel that it has on a kind of device.

    A memory with another kernel than torch's steps is verified with these, too.
    """
    found = []
    for subject in subjects(defaults()):
        used = kernel(RunConfig(model=subject.config), device)
        found.append(Verification(subject, PRECISIONS, used))
        if used not in ("auto", "torch"):
            found.append(Verification(subject._replace(label=f"{subject.label}, kernel torch"), PRECISIONS, "torch"))
    return found


def of_runs(runs: Sequence[Run], device: str, precisions: Sequence[str] = PRECISIONS) -> list[Verification]:
    """Return the verification of the models of runs, each with the kernel that it uses on a kind of device."""
    used: dict[str, set[str]] = {}
    for run in runs:
        used.setdefault(_key(run.config.model), set()).add(kernel(run.config, device))
    return [
        Verification(subject, tuple(precisions), name)
        for subject in subjects(run.config.model for run in runs)
        for name in sorted(used[_key(subject.config)])
    ]


def defaults() -> list[ModelConfig]:
    """Return the default configuration of each variant, with enough layers for all of its mixers."""
    variants = registry.variants()
    layers = max(len(registry.pattern(variant)) for variant in variants)
    return [ModelConfig(variant=variant, n_layers=layers) for variant in variants]


def subjects(configs: Iterable[ModelConfig]) -> list[VerifiedModel]:
    """Return the models that some configurations reduce to, each once and in order."""
    distinct: dict[str, ModelConfig] = {}
    for config in dict.fromkeys(configs):
        distinct.setdefault(_key(config), config)
    found = list(distinct.values())
    words = labels([read_words(config) for config in found])
    return [VerifiedModel(label, config) for label, config in zip(words, found, strict=True)]


def facts(config: ModelConfig, precision: str, device: Device, kernel: str = "auto") -> dict[str, Any]:
    """Return the facts that the result of a verification may depend on."""
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
    """Return the name of a verification: 16 hexadecimal digits over its facts."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Return the digest of the source of the models and their checks: after an edit, all is verified again."""
    here = Path(__file__).parent
    sources = [
        *Path(str(titans.__file__)).parent.rglob("*.py"),
        *Path(str(titans.__file__)).parent.rglob("*.[ch]"),
        *here.glob("*.py"),
        here.parent / "training" / "precision.py",
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:16]


def _key(config: ModelConfig) -> str:
    """Return the key that is equal for configurations that reduce to the same one."""
    return json.dumps(_reduced(config))


def _reduced(config: ModelConfig) -> list[dict[str, Any]]:
    return [effective(for_operator(config)), effective(for_model(config))]
