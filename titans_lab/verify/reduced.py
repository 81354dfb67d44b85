"""Reduce a configuration to a model that is compared in seconds and has every switch of the original.

The variant, the width of a head, the memory's depth and expansion, and every switch stay. Counts shrink: of layers, of
heads, of tokens, of chunks. The gates start at other values, so that each matters: training starts to forget 1/60,000 a
token, and no float32 would notice a fault in that.
"""

from __future__ import annotations

import dataclasses
import math

from titans.mixers import registry
from titans.models.config import MemoryConfig, ModelConfig, reads

CHECKS = ("operator", "model", "streaming", "causality")
OPERATOR_CHUNK, MODEL_CHUNK = 64, 4  # the longest chunks; token by token, a model writes each chunk many times
FAT, FAT_CHUNK = 2**15, 16  # weights of a head above which chunks are shorter, since the reference keeps them per token
HEADS, WIDE = 2, 64  # the most heads; one head where it is wider than this
TOKENS = 3  # the most persistent tokens
WINDOW = 7  # the most tokens of the memory's window, past a chunk of the model
VOCABULARY = 17
ETA_BIAS, ALPHA_BIAS = 0.0, -4.0  # half of the momentum and 98 % of the weights remain after a token
CLIMB = 0.1  # the factor on the step size where the memory ascends
WORDS = (
    "Each configuration is checked on a small model with all of its switches: one layer of each of its mixers, at most "
    f"{HEADS} heads of its own width, {TOKENS} persistent tokens, chunks of at most {OPERATOR_CHUNK} tokens for the "
    f"operator and {MODEL_CHUNK} for the model, two chunks a segment, windows of at most {WINDOW} tokens, and other "
    "initial values of the gates."
)


def for_operator(config: ModelConfig) -> ModelConfig:
    """Return the reduced configuration for the check of the operator alone."""
    depth, wide = config.memory.depth, config.memory.expansion
    weights = config.head_dim**2 * (1 if depth == 1 else 2 * wide + (depth - 2) * wide**2)  # of one head's memory
    return _reduced(config, OPERATOR_CHUNK if weights <= FAT else FAT_CHUNK)


def for_model(config: ModelConfig) -> ModelConfig:
    """Return the reduced configuration for the checks of a whole model."""
    return _reduced(config, MODEL_CHUNK)


def length(config: ModelConfig) -> int:
    """Return the length of a sequence for a reduced model: past two segments or chunks, and no multiple of either."""
    return 3 + 2 * (config.segment_len if "segment_len" in reads(config.variant) else _common(config.memory))


def modes(config: ModelConfig) -> tuple[bool, ...]:
    """Return the modes to check, True for training: evaluation, too, where its chunk size differs."""
    memory = config.memory
    return (True,) if memory.eval_chunk_size in (None, memory.chunk_size) else (True, False)


def checks_of(config: ModelConfig) -> list[str]:
    """Return the names of the checks that a configuration has to pass. Without a memory there is no operator."""
    return [name for name in CHECKS if name != "operator" or config.has_memory]


def _reduced(config: ModelConfig, longest: int) -> ModelConfig:
    memory = _shortened(_weighty(config), longest)
    memory = dataclasses.replace(memory, window=min(memory.window, WINDOW))
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
        settings=tuple(
            registry.mixer(name).reduced(config.settings_of(kind)) for name, kind in registry.settings_classes().items()
        ),
        recurrent=dataclasses.replace(config.recurrent, chunk_size=min(config.recurrent.chunk_size, MODEL_CHUNK)),
    )


def _narrow(config: ModelConfig) -> tuple[int, int]:
    """Return the number of heads, which are fewer and of the same width, and the model's width that follows."""
    if "n_heads" not in reads(config.variant):
        return config.n_heads, min(config.dim, WIDE)
    heads = min(config.n_heads, HEADS) if config.head_dim <= WIDE else 1
    return heads, heads * config.head_dim


def _common(memory: MemoryConfig) -> int:
    """Return the fewest tokens that are whole chunks in training and in evaluation."""
    return math.lcm(memory.chunk_size, memory.eval_chunk_size or 1)


def _shortened(memory: MemoryConfig, longest: int) -> MemoryConfig:
    """Shorten chunks and groups, in their order of size. Where one is too long, each is half of the next larger one."""
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
    """Return the memory with other initial gates, and with steps that stay stable under ascent and with long keys."""
    usual = dataclasses.replace(config.memory, theta_scale=None, theta_ceiling=None)
    slower = (CLIMB if usual.ascent else 1) / (1 if config.qk_l2_norm else config.head_dim)
    step = slower * usual.step_scale(config.head_dim)
    given = config.memory
    ceiling = given.theta_ceiling and step * given.theta_ceiling / given.step_scale(config.head_dim)
    return dataclasses.replace(usual, theta_scale=step, theta_ceiling=ceiling, eta_bias=ETA_BIAS, alpha_bias=ALPHA_BIAS)
