"""The cost of attention, over all tokens and over a sliding window."""

from __future__ import annotations

from titans.mixers.recurrence_cost import convolution
from titans.models.config import ModelConfig

#: What every mixer with attention reads.
ATTENTION_READS = frozenset({"n_heads", "attention_conv_size"})


def attention_parameters(config: ModelConfig) -> int:
    """Return the parameters of q, k, v and out, matrices and convolutions, which are a token's multiply-adds too."""
    return 4 * config.dim**2 + 3 * attention_convolution(config)


def attention_convolution(config: ModelConfig) -> int:
    """Return the multiply-adds of the convolution on q, k or v for one token, which are also its parameters."""
    return convolution(config.dim, config.attention_conv_size)


def prefix_products(config: ModelConfig, tokens: int) -> int:
    """Return the multiply-adds of the keys and values of tokens that all others see."""
    return tokens * 2 * (config.dim**2 + attention_convolution(config))


def attention_tail(config: ModelConfig) -> int:
    """Return the numbers in the tail of the convolution on q, k or v."""
    return (config.attention_conv_size - 1) * config.dim


def window_products(config: ModelConfig, length: int, batch: int, persistent: int) -> int:
    """Return the multiply-adds of sliding-window attention and its projections.

    A block of queries, as long as the window, attends to two blocks of keys and to the `persistent` tokens.
    """
    size, dim = min(config.window, length), config.dim
    rows = -(-length // size) * size
    attended = rows * (2 * size + persistent) * 2 * dim
    return batch * (length * attention_parameters(config) + attended) + prefix_products(config, persistent)


def window_state(config: ModelConfig, length: int) -> int:
    """Return the numbers in the keys and values of the tokens that the next one still sees, and in the tails."""
    return 2 * min(config.window - 1, length) * config.dim + 3 * attention_tail(config)
