"""The cost of attention, over all tokens and over a sliding window."""

from __future__ import annotations

from titans.models.config import ModelConfig


def attention_parameters(config: ModelConfig) -> int:
    """Return the parameters of the projections q, k, v and out, which have no biases."""
    return 4 * config.dim**2


def window_products(config: ModelConfig, length: int, batch: int, persistent: int) -> int:
    """Return the multiply-adds of sliding-window attention and its projections.

    A block of queries, as long as the window, attends to two blocks of keys and to the `persistent` tokens.
    """
    size, dim = min(config.window, length), config.dim
    rows = -(-length // size) * size
    return batch * (length * 4 * dim**2 + rows * (2 * size + persistent) * 2 * dim) + persistent * 2 * dim**2


def window_state(config: ModelConfig, length: int) -> int:
    """Return the numbers in the keys and values of the tokens that the next one still sees."""
    return 2 * min(config.window - 1, length) * config.dim
