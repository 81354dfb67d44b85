"""Memory and attention in one block."""

from __future__ import annotations

from titans.cost.attention import attention_parameters, window_products, window_state
from titans.cost.memory import (
    begin_products,
    lmm_parameters,
    lmm_products,
    memory_products,
    memory_state,
    output_gate,
    projection,
    recall,
    widths,
)
from titans.cost.mixer import MixerCost, squares
from titans.models.config import ModelConfig


def _mac_parameters(config: ModelConfig) -> int:
    return _with_attention(config, 1 + _product_norms(config)) + config.mac.long_term_tokens * config.dim


def _with_attention(config: ModelConfig, norms: int) -> int:
    return lmm_parameters(config) + attention_parameters(config) + norms * config.dim


def _product_norms(config: ModelConfig) -> int:
    return 2 if config.combine == "norm_sigmoid" else 0


def _mac_products(config: ModelConfig, length: int, batch: int) -> int:
    dim, seen_by_all = config.dim, config.persistent_tokens + config.mac.long_term_tokens
    attention = length * (6 * dim**2 + 2 * seen_by_all * dim) + squares(length, config.segment_len) * 4 * dim
    segments = -(-length // config.segment_len)
    starts = 1 + length // config.segment_len if config.mac.reset else 1
    shared = config.persistent_tokens * 2 * dim**2
    total = batch * attention + shared + memory_products(config, length, batch)
    total += batch * length * (projection(config) if config.mac.order == "write_first" else recall(config))
    if config.mac.long_term_tokens:
        total += segments * _long_term_products(config, batch)
    return total + _mac_reads(config, length, batch) + begin_products(config) * starts


def _long_term_products(config: ModelConfig, batch: int) -> int:
    """Of one segment: the queries and their gate are the same for the whole batch, what they read is not."""
    dim, matrices = config.dim, sum(d_out * d_in for d_out, d_in in widths(config))
    once, each = projection(config) + output_gate(config), config.n_heads * matrices + dim**2 + 2 * dim**2
    return config.mac.long_term_tokens * (once + batch * each)


def _mac_reads(config: ModelConfig, length: int, batch: int) -> int:
    """A second read of the output, where it is not read after its own write."""
    return 0 if config.mac.read == "own" or config.mac.order == "write_first" else batch * length * recall(config)


def _parallel_products(config: ModelConfig, length: int, batch: int) -> int:
    return lmm_products(config, length, batch) + window_products(config, length, batch, config.persistent_tokens)


def _mac_state(config: ModelConfig, length: int) -> int:
    """The memory's, now and before the segment, the recall's tail, keys and values of the segment and of its recall."""
    inside, tail = length % config.segment_len, (config.conv_size - 1) * config.dim
    before = memory_state(config) - 3 * tail if inside else 0
    return memory_state(config) + before + tail + 4 * inside * config.dim


def _parallel_state(config: ModelConfig, length: int) -> int:
    return memory_state(config) + window_state(config, length)


MAC = MixerCost(_mac_parameters, _mac_products, _mac_state)
MAG = MixerCost(lambda config: _with_attention(config, _product_norms(config)), _parallel_products, _parallel_state)
MAL = MixerCost(lambda config: _with_attention(config, 1), _parallel_products, _parallel_state)
