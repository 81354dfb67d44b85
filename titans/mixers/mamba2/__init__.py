"""Mamba-2 (Dao and Gu, arXiv 2405.21060): a state-space model whose states decay by a scalar a head and token."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, convolution, linear_attention, size, width
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"state_size": 128, "expand_v": 2.0}
SLOWEST = 1.0  # lower end of the uniform distribution of A


def mamba2_sizes(config: ModelConfig) -> tuple[int, int]:
    """Return the width of the inner stream, and the width of B and C, given or published."""
    return width(config, PUBLISHED, "expand_v", config.n_heads), int(size(config, PUBLISHED, "state_size"))


def mamba2_convolved(config: ModelConfig) -> int:
    """Return the channels of x, B and C together, which pass the convolution."""
    inner, keys = mamba2_sizes(config)
    return inner + 2 * keys


def mamba2_matrices(config: ModelConfig) -> int:
    """Return the parameters of projections and convolution, which are also their multiply-adds for one token."""
    inner, _ = mamba2_sizes(config)
    mixed = mamba2_convolved(config)
    return config.dim * (2 * inner + mixed + config.n_heads) + convolution(mixed, config.conv_size)


def mamba2_parameters(config: ModelConfig) -> int:
    """Return the parameters: with the convolution's bias, the norm, and rate, step bias and skip of each head."""
    inner, _ = mamba2_sizes(config)
    bias = mamba2_convolved(config) if config.conv_size > 1 else 0
    return mamba2_matrices(config) + bias + 3 * config.n_heads + inner


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    inner, d_k = mamba2_sizes(config)
    heads, chunk_size = config.n_heads, config.recurrent.chunk_size
    scan = linear_attention(heads, d_k, inner // heads, length, chunk_size, key_heads=1)
    return batch * (length * mamba2_matrices(config) + scan)


def _state_size(config: ModelConfig, length: int) -> int:
    inner, keys = mamba2_sizes(config)
    return keys * inner + (config.conv_size - 1) * mamba2_convolved(config)


MIXER = MixerSpec(
    name="mamba2",
    family="linear recurrence",
    summary="a state space whose decay is a scalar for each head and token",
    source="Mamba-2 (arXiv 2405.21060)",
    layer="titans.mixers.mamba2.layer:Mamba2",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=mamba2_parameters,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.307845,
)
