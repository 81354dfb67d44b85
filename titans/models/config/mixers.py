"""The sequence mixers by name: which of them a variant has, and what each reads of the configuration."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, Literal

from titans.models.config.mac import MacConfig
from titans.models.config.memory import MemoryConfig
from titans.models.config.recurrent import RecurrentConfig

Variant = Literal[
    "lmm", "mac", "mag", "mal", "transformer", "window", "lstm",
    "linear_attention", "retnet", "gla", "mamba2", "deltanet", "gated_deltanet",
]  # fmt: skip

#: Variants whose blocks take turns with these mixers; all others have the mixer of their own name in every block.
PATTERNS: dict[str, tuple[str, ...]] = {}

_MEMORY = frozenset({"heads", "memory", "persistent_tokens", "conv_width", "qkv_activation", "unit_qk"})

#: What each mixer reads besides `dim`, as keys of `ModelConfig`; a section stands for everything in it.
READS: dict[str, frozenset[str]] = {
    "lmm": _MEMORY,
    "mac": _MEMORY | {"persistent_written", "combine", "segment", "mac"},
    "mag": _MEMORY | {"persistent_written", "combine", "window"},
    "mal": _MEMORY | {"persistent_written", "window"},
    "transformer": frozenset({"heads"}),
    "window": frozenset({"heads", "window"}),
    "lstm": frozenset(),
    "linear_attention": frozenset({"heads"}),
    "retnet": frozenset({"heads"}),
    "gla": frozenset({"heads"}),
    "mamba2": frozenset({"heads", "conv_width"}),
    "deltanet": frozenset({"heads", "conv_width"}),
    "gated_deltanet": frozenset({"heads", "conv_width"}),
}

#: What null means in `RecurrentConfig` for each mixer; it reads the fields that are given here.
PUBLISHED: dict[str, RecurrentConfig] = {
    "linear_attention": RecurrentConfig(key_expansion=1.0, value_expansion=1.0, conv_width=1),
    "retnet": RecurrentConfig(key_expansion=1.0, value_expansion=2.0, conv_width=1),
    "gla": RecurrentConfig(key_expansion=0.5, value_expansion=1.0, conv_width=1),
    "mamba2": RecurrentConfig(state_size=128, value_expansion=2.0),
    "deltanet": RecurrentConfig(key_expansion=1.0, value_expansion=1.0),
    "gated_deltanet": RecurrentConfig(key_expansion=0.75, value_expansion=1.5),
}

_SECTIONS: dict[str, Any] = {"memory": MemoryConfig, "mac": MacConfig, "recurrent": RecurrentConfig}


def pattern(variant: str) -> tuple[str, ...]:
    """The mixers that the blocks of a variant take turns with."""
    return PATTERNS.get(variant, (variant,))


@cache
def reads(variant: str) -> frozenset[str]:
    """The dotted keys of `OPTIONAL` that a variant reads."""
    return frozenset().union(*map(_read_by, pattern(variant)))


def _read_by(mixer: str) -> frozenset[str]:
    sizes = PUBLISHED.get(mixer, RecurrentConfig())
    given = {f"recurrent.{name}" for name, value in dataclasses.asdict(sizes).items() if value is not None}
    chunks = {"recurrent.chunk_size"}
    return _leaves(READS[mixer]) | (given - chunks)


def _leaves(names: frozenset[str]) -> frozenset[str]:
    """Keys of values, in the place of those of sections."""
    inside = {
        f"{name}.{field.name}" for name in names & _SECTIONS.keys() for field in dataclasses.fields(_SECTIONS[name])
    }
    return (names - _SECTIONS.keys()) | inside


#: The dotted keys of `ModelConfig` that some variant does not read.
OPTIONAL = frozenset().union(_leaves(frozenset(_SECTIONS)), *map(_leaves, READS.values()))
