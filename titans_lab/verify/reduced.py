"""A model small enough to compare in seconds, with every switch of the one that it stands for.

Kept: the variant, the width of a head, the memory's depth and expansion, and whatever is on or off. Shrunk: what there
is only more of. Set: what a gate starts at, so that each matters; of forgetting 1/60,000 a token, as training starts,
no float32 would notice that it is wrong.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from titans.mixers import registry
from titans.models.config import MemoryConfig, ModelConfig, reads

CHECKS = ("operator", "model", "streaming", "causality")
OPERATOR_CHUNK, MODEL_CHUNK = 64, 4  # longest; token by token, a model writes each chunk again and again
FAT, FAT_CHUNK = 2**15, 16  # weights a head from which the oracle, which keeps those of every token, gets shorter ones
HEADS, WIDE = 2, 64  # one head where it is wider
TOKENS = 3  # persistent, and long-term
VOCABULARY = 17
ETA_BIAS, ALPHA_BIAS = 0.0, -4.0  # half of the momentum and 98 % of the weights outlast a token
CLIMB = 0.1  # of the usual step size
WORDS = (
    f"What stands for a configuration: one block of each of its mixers, at most {HEADS} heads as wide as its own, "
    f"{TOKENS} persistent tokens, chunks of at most {OPERATOR_CHUNK} tokens for the operator and {MODEL_CHUNK} for the "
    "model, two to a segment; other values of the gates; every switch as it is."
)


def for_operator(config: ModelConfig) -> ModelConfig:
    """What stands for a configuration where the operator is checked alone."""
    return _reduced(config, OPERATOR_CHUNK if _weights(config) <= FAT else FAT_CHUNK)


def for_model(config: ModelConfig) -> ModelConfig:
    """What stands for a configuration where a whole model is checked."""
    return _reduced(config, MODEL_CHUNK)


def length(config: ModelConfig) -> int:
    """Tokens of a sequence for a reduced model: past two segments or chunks, and no multiple of any."""
    return 3 + 2 * (config.segment_len if "segment_len" in reads(config.variant) else _common(config.memory))


def modes(config: ModelConfig) -> tuple[bool, ...]:
    """Whether a model is in training: yes, and no too where its chunk is another one then."""
    memory = config.memory
    return (True,) if memory.eval_chunk_size in (None, memory.chunk_size) else (True, False)


def checks_of(config: ModelConfig) -> list[str]:
    """Names of the checks that a configuration has to pass; without a memory there is no operator."""
    return [name for name in CHECKS if name != "operator" or config.has_memory]


def _reduced(config: ModelConfig, longest: int) -> ModelConfig:
    memory = _shortened(_weighty(config), longest)
    heads, dim = _narrow(config)
    return dataclasses.replace(
        config,
        vocab_size=VOCABULARY,
        n_layers=len(registry.pattern(config.variant)),
        n_heads=heads,
        dim=dim,
        mlp_ratio=1.0,
        persistent_tokens=min(config.persistent_tokens, TOKENS),
        segment_len=_common(memory) * min(2, max(1, config.segment_len // _common(config.memory))),
        window=min(config.window, memory.chunk_size + 3),
        memory=memory,
        settings=tuple(_own(config, name) for name in registry.settings_classes()),
        recurrent=dataclasses.replace(config.recurrent, chunk_size=min(config.recurrent.chunk_size, MODEL_CHUNK)),
    )


def _own(config: ModelConfig, mixer: str) -> Any:
    """A mixer's own settings, as its specification reduces them."""
    return registry.mixer(mixer).reduced(config.settings_of(registry.settings_classes()[mixer]))


def _narrow(config: ModelConfig) -> tuple[int, int]:
    """Fewer heads of the same width, where there are heads, and the width that this makes."""
    if "n_heads" not in reads(config.variant):
        return config.n_heads, min(config.dim, WIDE)
    heads = min(config.n_heads, HEADS) if config.head_dim <= WIDE else 1
    return heads, heads * config.head_dim


def _weights(config: ModelConfig) -> int:
    """Of one head's memory."""
    depth, wide = config.memory.depth, config.memory.expansion
    return config.head_dim**2 * (1 if depth == 1 else 2 * wide + (depth - 2) * wide**2)


def _common(memory: MemoryConfig) -> int:
    """Tokens that are whole chunks in training and in evaluation."""
    return math.lcm(memory.chunk_size, memory.eval_chunk_size or 1)


def _shortened(memory: MemoryConfig, longest: int) -> MemoryConfig:
    """Chunks and groups in the same order of size; where one is too long, powers of two, each half of the next."""
    other = memory.eval_chunk_size or memory.chunk_size
    if max(memory.chunk_size, other) <= longest:
        return memory
    sizes = sorted({memory.chunk_size, other, memory.update_every} - {1}, reverse=True)
    top = max(longest, 2 ** len(sizes))
    short = {1: 1} | {size: top >> place for place, size in enumerate(sizes)}
    return dataclasses.replace(
        memory,
        chunk_size=short[memory.chunk_size],
        eval_chunk_size=memory.eval_chunk_size and short[other],
        update_every=short[memory.update_every],
    )


def _weighty(config: ModelConfig) -> MemoryConfig:
    """Its memory with other values of the gates, and steps that do not run away where it climbs or keys are long."""
    usual = dataclasses.replace(config.memory, theta_scale=None)
    slower = (CLIMB if usual.ascent else 1) / (1 if config.qk_l2_norm else config.head_dim)
    step = slower * usual.step_scale(config.head_dim)
    return dataclasses.replace(usual, theta_scale=step, eta_bias=ETA_BIAS, alpha_bias=ALPHA_BIAS)
