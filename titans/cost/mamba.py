"""Mamba."""

from __future__ import annotations

from titans.cost.mixer import MixerCost
from titans.models.config import ModelConfig


def _sizes(config: ModelConfig) -> tuple[int, int, int]:
    """Width of the inner stream, numbers of state a channel, and rank of the step sizes."""
    return config.value_dim("mamba"), config.state_size("mamba"), -(-config.dim // 16)


def _matrices(config: ModelConfig) -> int:
    """Into the inner stream and its gate, to step sizes and what is written and read along, and out."""
    inner, size, rank = _sizes(config)
    return inner * (3 * config.dim + (rank + 2 * size) + rank)


def _parameters(config: ModelConfig) -> int:
    """With the convolution and its bias, the rates, the step sizes' bias and the skip."""
    inner, size, _ = _sizes(config)
    convolution = inner * (config.conv_size + 1) if config.conv_size > 1 else 0
    return _matrices(config) + convolution + inner * (size + 2)


def _products(config: ModelConfig, length: int, batch: int) -> int:
    """With three a number of state: of what is written, of the recurrence, and of what is read."""
    inner, size, _ = _sizes(config)
    convolution = inner * config.conv_size if config.conv_size > 1 else 0
    return batch * length * (_matrices(config) + convolution + 3 * inner * size)


def _state(config: ModelConfig, length: int) -> int:
    inner, size, _ = _sizes(config)
    return inner * (size + config.conv_size - 1)


MAMBA = MixerCost(_parameters, _products, _state)
