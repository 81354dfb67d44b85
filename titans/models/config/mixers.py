"""The sequence mixers by name: which of them a variant has, and what each reads of the configuration."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, Literal

from titans.models.config.mac import MacConfig
from titans.models.config.memory import MemoryConfig
from titans.models.config.recurrent import RecurrentConfig

Variant = Literal[
    "lmm", "mac", "mag", "mal",
    "transformer", "window", "lstm",
    "linear_attention", "retnet", "gla", "mamba", "mamba2", "deltanet", "gated_deltanet", "ttt_linear", "ttt_mlp",
    "samba", "gated_deltanet_h2",
]  # fmt: skip

#: Variants whose blocks take turns with these mixers; all others have the mixer of their own name in every block.
PATTERNS: dict[str, tuple[str, ...]] = {
    "samba": ("mamba", "window"),  # arXiv 2406.07522
    "gated_deltanet_h2": ("mamba2", "gated_deltanet", "window"),  # arXiv 2412.06464
}

_MEMORY = frozenset({"n_heads", "memory", "persistent_tokens", "conv_size", "qkv_activation", "qk_l2_norm"})

#: What each mixer reads besides `dim`, as keys of `ModelConfig`; a section stands for everything in it.
READS: dict[str, frozenset[str]] = {
    "lmm": _MEMORY,
    "mac": _MEMORY | {"persistent_written", "combine", "segment_len", "mac"},
    "mag": _MEMORY | {"persistent_written", "combine", "window"},
    "mal": _MEMORY | {"persistent_written", "window"},
    "transformer": frozenset({"n_heads"}),
    "window": frozenset({"n_heads", "window"}),
    "lstm": frozenset(),
    "mamba": frozenset({"conv_size"}),
    "ttt_linear": frozenset({"n_heads", "conv_size", "memory.chunk_size"}),
    "ttt_mlp": frozenset({"n_heads", "conv_size", "memory.chunk_size"}),
    "linear_attention": frozenset({"n_heads"}),
    "retnet": frozenset({"n_heads"}),
    "gla": frozenset({"n_heads"}),
    "mamba2": frozenset({"n_heads", "conv_size"}),
    "deltanet": frozenset({"n_heads", "conv_size"}),
    "gated_deltanet": frozenset({"n_heads", "conv_size"}),
}

#: What null means in `RecurrentConfig` for each mixer; it reads the chunk size and the fields that are given here.
PUBLISHED: dict[str, RecurrentConfig] = {
    "mamba": RecurrentConfig(state_size=16, expand_v=2.0),
    "linear_attention": RecurrentConfig(expand_k=1.0, expand_v=1.0, conv_size=1),
    "retnet": RecurrentConfig(expand_k=1.0, expand_v=2.0, conv_size=1),
    "gla": RecurrentConfig(expand_k=0.5, expand_v=1.0, conv_size=1),
    "mamba2": RecurrentConfig(state_size=128, expand_v=2.0),
    "deltanet": RecurrentConfig(expand_k=1.0, expand_v=1.0),
    "gated_deltanet": RecurrentConfig(expand_k=0.75, expand_v=1.5),
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
    sizes = dataclasses.asdict(PUBLISHED[mixer]) if mixer in PUBLISHED else {}
    return _leaves(READS[mixer]) | {f"recurrent.{name}" for name, value in sizes.items() if value is not None}


def _leaves(names: frozenset[str]) -> frozenset[str]:
    """Keys of values, in the place of those of sections."""
    inside = {
        f"{name}.{field.name}" for name in names & _SECTIONS.keys() for field in dataclasses.fields(_SECTIONS[name])
    }
    return (names - _SECTIONS.keys()) | inside


#: The dotted keys of `ModelConfig` that some variant does not read.
OPTIONAL = frozenset().union(_leaves(frozenset(_SECTIONS)), *map(_leaves, READS.values()))
