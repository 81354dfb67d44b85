"""What a model reads of its configuration, each thing in one spelling."""

from __future__ import annotations

import dataclasses
from typing import Any

from titans.models.config.memory import MemoryConfig
from titans.models.config.mixers import OPTIONAL, PUBLISHED, pattern, reads
from titans.models.config.model import ModelConfig


def effective(config: ModelConfig) -> dict[str, Any]:
    """The fields that the model reads, as plain nested data: two models with equal ones are the same function.

    A transformer has no memory, a memory of depth 1 no hidden layer, and so on; what is not read has no part
    in a run's identity.
    """
    fields = _nested(config)
    usual = dataclasses.replace(config, persistent_written=None).writes_persistent
    if config.writes_persistent == usual or not config.persistent_tokens:
        fields["persistent_written"] = None
    fields["recurrent"] |= _sizes(config)
    if "memory.depth" in reads(config.variant):
        fields["memory"] |= _in_one_spelling(config)
    idle = {f"memory.{name}" for name in _idle(config.memory)}
    for key in (OPTIONAL - reads(config.variant)) | idle:
        section, _, name = key.rpartition(".")
        del (fields[section] if section else fields)[name]
    return {name: value for name, value in fields.items() if value != {}}


def _nested(config: Any) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies every value deeply; a thousand configurations have many."""
    return {name: _nested(value) if dataclasses.is_dataclass(value) else value for name, value in vars(config).items()}


def _sizes(config: ModelConfig) -> dict[str, Any]:
    """What null stands for in `recurrent`, where it stands for one thing in all mixers."""
    found = {}
    for name, given in dataclasses.asdict(config.recurrent).items():
        published = {getattr(PUBLISHED[mixer], name) for mixer in pattern(config.variant) if mixer in PUBLISHED}
        published -= {None}
        found[name] = published.pop() if given is None and len(published) == 1 else given
    return found


def _in_one_spelling(config: ModelConfig) -> dict[str, Any]:
    """Values of the memory that can be said in two ways."""
    memory, channels = config.memory, config.memory.gate_channels
    if channels == "all" and not memory.momentum:
        channels = "alpha"
    if channels == "alpha" and not memory.forgetting:
        channels = "none"
    return {
        "theta_scale": memory.step_scale(config.head_dim),
        "gate_channels": channels,
        "gates_per_layer": memory.gates_per_layer or memory.gate_channels != "none",
        "gate_span": "token" if memory.gate_span == "group" and memory.update_every == 1 else memory.gate_span,
        "eval_chunk_size": None if memory.eval_chunk_size == memory.chunk_size else memory.eval_chunk_size,
    }


def _idle(memory: MemoryConfig) -> set[str]:
    """Fields that make no difference with what the others are."""
    linear = {"expansion", "activation", "written"} if memory.depth == 1 else set()
    alone = {"gates_per_layer"} if len(memory.written_layers) == 1 else set()
    no_momentum = set() if memory.momentum else {"eta_bias", "reset_momentum", "theta_damping"}
    no_forgetting = set() if memory.forgetting else {"alpha_bias"}
    no_gates = set() if memory.momentum or memory.forgetting else {"gate_span"}
    return linear | alone | no_momentum | no_forgetting | no_gates
