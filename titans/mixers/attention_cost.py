"""What attention costs, full and over a sliding window."""

from __future__ import annotations

from titans.models.config import ModelConfig


def attention_parameters(config: ModelConfig) -> int:
    """Of the four projections q, k, v and out, without biases."""
    return 4 * config.dim**2


def window_products(config: ModelConfig, length: int, batch: int, persistent: int) -> int:
    """Blocks of queries over two blocks of keys and the persistent tokens, with projections."""
    size, dim = min(config.window, length), config.dim
    rows = -(-length // size) * size
    return batch * (length * 4 * dim**2 + rows * (2 * size + persistent) * 2 * dim) + persistent * 2 * dim**2


def window_state(config: ModelConfig, length: int) -> int:
    """Keys and values of the tokens that the next one still sees."""
    return 2 * min(config.window - 1, length) * config.dim
