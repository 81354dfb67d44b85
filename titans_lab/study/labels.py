"""What tells models apart, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from titans.models.config import ModelConfig, effective
from titans_lab.study.fields import plain
from titans_lab.study.identity import flatten
from titans_lab.study.values import show


def read_words(config: ModelConfig) -> dict[str, str]:
    """The values that a model reads, as they were given, by dotted key."""
    given = dict(flatten(plain(config)))
    names = (name for name, _ in flatten(effective(config)))
    return {name: given[name] if isinstance(given[name], str) else show(given[name]) for name in names}


def labels(models: Sequence[Mapping[str, str]]) -> list[str]:
    """The values in which those that have them differ: "variant=mag memory.depth=2"; the variant where none does.

    Args:
        models: Of each, `read_words` and whatever else there is.
    """
    seen: dict[str, set[str]] = {}
    for name, value in (item for values in models for item in values.items()):
        seen.setdefault(name, set()).add(value)
    return [
        " ".join(f"{name}={value}" for name, value in values.items() if len(seen[name]) > 1) or values["variant"]
        for values in models
    ]
