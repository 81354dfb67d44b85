"""Recurrent networks."""

from __future__ import annotations

from titans.cost.mixer import MixerCost
from titans.models.config import ModelConfig


def _lstm_parameters(config: ModelConfig) -> int:
    """Four gates by input and hidden state, and torch's two biases."""
    return 8 * config.dim**2 + 8 * config.dim


LSTM = MixerCost(
    _lstm_parameters,
    lambda config, length, batch: batch * length * 8 * config.dim**2,
    lambda config, seq_len: 2 * config.dim,
)
