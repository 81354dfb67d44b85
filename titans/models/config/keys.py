"""The dotted keys of a model's configuration, and which of them a variant reads."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from titans.mixers.registry import mixer, pattern
from titans.models.config.memory import MemoryConfig
from titans.models.config.recurrent import RecurrentConfig

_SHARED: dict[str, type] = {"memory": MemoryConfig, "recurrent": RecurrentConfig}


@cache
def reads(variant: str) -> frozenset[str]:
    """Return the dotted keys that the mixers of a variant read, without those of the block, which all variants read."""
    return frozenset().union(*map(reads_of_mixer, pattern(variant)))


def reads_of_mixer(name: str) -> frozenset[str]:
    """Return the dotted keys that a mixer reads, those of its own settings included."""
    spec = mixer(name)
    own = {name} if spec.settings else set()
    sections = _SHARED | ({name: spec.settings} if spec.settings else {})
    named = {f"recurrent.{size}" for size in spec.published}
    return frozenset(key for name in spec.reads | own | named for key in _leaves(name, sections))


def _leaves(name: str, sections: dict[str, Any]) -> list[str]:
    """Return the keys in a section, or the key itself."""
    if name not in sections:
        return [name]
    return [f"{name}.{field.name}" for field in dataclasses.fields(sections[name])]
