"""Recurrences with a matrix for a state: linear attention with decay, and the delta rule."""

from __future__ import annotations

from titans.cost.mixer import MixerCost
from titans.models.config import ModelConfig

GLA_RANK = 16  # as in titans/layers/gla.py, which imports torch


def _heads(config: ModelConfig, mixer: str) -> tuple[int, int]:
    """Widths of a head's keys and values."""
    return config.key_dim(mixer) // config.n_heads, config.value_dim(mixer) // config.n_heads


def _rows(length: int, size: int) -> int:
    """Tokens with those that fill up the last chunk."""
    return -(-length // size) * size


def _convolution(channels: int, width: int) -> int:
    """Weights of a convolution, and multiply-adds a token."""
    return channels * width if width > 1 else 0


def _inputs(config: ModelConfig, mixer: str) -> int:
    """Parameters of q, k and v, and multiply-adds a token."""
    channels = 2 * config.key_dim(mixer) + config.value_dim(mixer)
    return config.dim * channels + _convolution(channels, config.short_convolution(mixer))


def _readout(config: ModelConfig, mixer: str, gated: bool) -> int:
    """Multiply-adds a token of the gate and the output projection, and their parameters."""
    return (1 + gated) * config.dim * config.value_dim(mixer)


def _attention(config: ModelConfig, length: int, d_k: int, d_v: int, key_heads: int) -> int:
    """Linear attention by chunks with a decay that the channels share: scores, reads inside and before, writes."""
    size = min(config.recurrent.chunk_size, length)
    return _rows(length, size) * (key_heads * size * d_k + config.n_heads * (size * d_v + 2 * d_k * d_v))


def _channel_attention(config: ModelConfig, length: int, d_k: int, d_v: int) -> int:
    """With a decay for each channel: scores by doubling, of each pair of tokens below the diagonal."""
    size = 1 << (min(config.recurrent.chunk_size, length) - 1).bit_length()
    rows, pairs = _rows(length, size), _rows(length, size) // size * (size * (size - 1) // 2)
    return config.n_heads * (pairs * d_k + rows * (size * d_v + 2 * d_k * d_v))


def _delta_rule(config: ModelConfig, length: int, d_k: int, d_v: int) -> int:
    """Two products of keys and one of values in a chunk, three with a state, and a triangular system."""
    size = min(config.recurrent.chunk_size, length)
    rows = _rows(length, size)
    system = rows // size * (size * (size - 1) // 2) * (d_k + d_v)
    return config.n_heads * (rows * (size * (2 * d_k + d_v) + 3 * d_k * d_v) + system)


def _state(config: ModelConfig, mixer: str, extra: int = 0) -> int:
    """The matrices of all heads, with so many more columns, and the tails of the convolutions."""
    d_k, d_v = _heads(config, mixer)
    channels = 2 * config.key_dim(mixer) + config.value_dim(mixer)
    return config.n_heads * d_k * (d_v + extra) + (config.short_convolution(mixer) - 1) * channels


def _linear_products(config: ModelConfig, length: int, batch: int) -> int:
    d_k, d_v = _heads(config, "linear_attention")
    around = _inputs(config, "linear_attention") + _readout(config, "linear_attention", gated=False)
    return batch * (length * around + _attention(config, length, d_k, d_v + 1, config.n_heads))


def _retnet_products(config: ModelConfig, length: int, batch: int) -> int:
    around = _inputs(config, "retnet") + _readout(config, "retnet", gated=True)
    return batch * (length * around + _attention(config, length, *_heads(config, "retnet"), config.n_heads))


def _gla_around(config: ModelConfig) -> int:
    narrow = GLA_RANK * (config.dim + config.key_dim("gla"))
    return _inputs(config, "gla") + narrow + _readout(config, "gla", gated=True)


def _gla_products(config: ModelConfig, length: int, batch: int) -> int:
    attention = _channel_attention(config, length, *_heads(config, "gla"))
    return batch * (length * _gla_around(config) + attention)


def _delta_around(config: ModelConfig, mixer: str) -> int:
    """DeltaNet has a matrix for beta, Gated DeltaNet one more for the decay, and a gate."""
    gated = mixer == "gated_deltanet"
    return _inputs(config, mixer) + (1 + gated) * config.dim * config.n_heads + _readout(config, mixer, gated)


def _delta_products(config: ModelConfig, mixer: str, length: int, batch: int) -> int:
    rule = _delta_rule(config, length, *_heads(config, mixer))
    return batch * (length * _delta_around(config, mixer) + rule)


def _mamba2_around(config: ModelConfig) -> int:
    inner, mixed = config.value_dim("mamba2"), _mamba2_mixed(config)
    projections = config.dim * (2 * inner + mixed + config.n_heads)
    return projections + _convolution(mixed, config.conv_size)


def _mamba2_mixed(config: ModelConfig) -> int:
    """Channels of x, B and C."""
    return config.value_dim("mamba2") + 2 * config.state_size("mamba2")


def _mamba2_parameters(config: ModelConfig) -> int:
    bias = _mamba2_mixed(config) if config.conv_size > 1 else 0
    return _mamba2_around(config) + bias + 3 * config.n_heads + config.value_dim("mamba2")


def _mamba2_products(config: ModelConfig, length: int, batch: int) -> int:
    d_k, d_v = config.state_size("mamba2"), config.value_dim("mamba2") // config.n_heads
    return batch * (length * _mamba2_around(config) + _attention(config, length, d_k, d_v, key_heads=1))


def _mamba2_state(config: ModelConfig, length: int) -> int:
    matrices = config.state_size("mamba2") * config.value_dim("mamba2")
    return matrices + (config.conv_size - 1) * _mamba2_mixed(config)


def _norm(config: ModelConfig, mixer: str) -> int:
    return _heads(config, mixer)[1]


LINEAR_ATTENTION = MixerCost(
    lambda config: _inputs(config, "linear_attention") + _readout(config, "linear_attention", gated=False),
    _linear_products,
    lambda config, length: _state(config, "linear_attention", extra=1),
)
RETNET = MixerCost(
    lambda config: _inputs(config, "retnet") + _readout(config, "retnet", gated=True) + _norm(config, "retnet"),
    _retnet_products,
    lambda config, length: _state(config, "retnet"),
)
GLA = MixerCost(
    lambda config: _gla_around(config) + config.key_dim("gla") + _norm(config, "gla"),
    _gla_products,
    lambda config, length: _state(config, "gla"),
)
MAMBA2 = MixerCost(_mamba2_parameters, _mamba2_products, _mamba2_state)
DELTANET = MixerCost(
    lambda config: _delta_around(config, "deltanet") + _norm(config, "deltanet"),
    lambda config, length, batch: _delta_products(config, "deltanet", length, batch),
    lambda config, length: _state(config, "deltanet"),
)
GATED_DELTANET = MixerCost(
    lambda config: _delta_around(config, "gated_deltanet") + _norm(config, "gated_deltanet") + 2 * config.n_heads,
    lambda config, length, batch: _delta_products(config, "gated_deltanet", length, batch),
    lambda config, length: _state(config, "gated_deltanet"),
)
