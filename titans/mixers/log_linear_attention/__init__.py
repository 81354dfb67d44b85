"""Log-linear attention (arXiv 2506.04761): Mamba-2 with a state for each level of a Fenwick tree over the past."""

from __future__ import annotations

from dataclasses import dataclass

from titans.mixers.mamba2 import PUBLISHED, mamba2_convolved, mamba2_matrices, mamba2_parameters, mamba2_sizes
from titans.mixers.recurrence_cost import SIZES, padded
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig
from titans.models.config.checks import at_least, at_most

MOST_LEVELS = 64


@dataclass(frozen=True)
class LogLinearAttentionConfig:
    """Settings of log-linear attention.

    Attributes:
        levels: Levels of the Fenwick tree, at least 2: the token itself, then 1, 2, 4, ... tokens before it. The last
            level has all older tokens, so the state does not grow. The authors' 15 levels distinguish all tokens of
            sequences up to 16,384.
    """

    levels: int = 15

    def __post_init__(self) -> None:
        at_least(self, 2, "levels")
        at_most(self, MOST_LEVELS, "levels")


def _levels(config: ModelConfig) -> int:
    return config.settings_of(LogLinearAttentionConfig).levels


def occupied(position: int, levels: int) -> int:
    """Return how many levels have tokens before a position: one for each bit set, the last one for all high bits."""
    high = position >> (levels - 2)
    return (position - (high << (levels - 2))).bit_count() + (high > 0)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of the matrices, each chunk's own tokens, the levels that it reads, and the states."""
    inner, d_k = mamba2_sizes(config)
    levels = _levels(config)
    size = 1 << (min(config.recurrent.chunk_size, length) - 1).bit_length()
    rows = padded(length, size)
    own = rows * size * (d_k + inner)  # all heads share the queries and keys
    read = sum(occupied(place, levels) for place in range(0, rows, size)) * size * d_k * inner
    matrices = mamba2_matrices(config) + config.dim * config.n_heads * levels
    return batch * (length * matrices + own + read + length * d_k * inner)


def _state_size(config: ModelConfig, length: int) -> int:
    inner, d_k = mamba2_sizes(config)
    return _levels(config) * d_k * inner + (config.conv_size - 1) * mamba2_convolved(config)


MIXER = MixerSpec(
    name="log_linear_attention",
    family="linear recurrence",
    summary="`mamba2` with a state for each level of a Fenwick tree over the past",
    source="Log-linear attention (arXiv 2506.04761)",
    layer="titans.mixers.log_linear_attention.layer:LogLinearAttention",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    settings=LogLinearAttentionConfig,
    parameters=lambda config: mamba2_parameters(config) + (config.dim + 1) * config.n_heads * _levels(config),
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.340450,
)
