"""Mamba (Gu and Dao, arXiv 2312.00752): a selective state space between a short convolution and a gate."""

from __future__ import annotations

from typing import NamedTuple

from titans.mixers.recurrence_cost import convolution, size, width
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"state_size": 16, "expand_v": 2.0}


class MambaSizes(NamedTuple):
    """Widths of a Mamba layer.

    Attributes:
        inner: Width of the inner stream.
        state: Numbers in one channel's state.
        rank: Rank of the projection to step sizes.
    """

    inner: int
    state: int
    rank: int


def mamba_sizes(config: ModelConfig) -> MambaSizes:
    """Return the widths of a Mamba layer, given or published."""
    inner, state = width(config, PUBLISHED, "expand_v", heads=1), int(size(config, PUBLISHED, "state_size"))
    return MambaSizes(inner, state, -(-config.dim // 16))


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of the matrices: inner stream and gate, step sizes with B and C, and output."""
    inner, state, rank = mamba_sizes(config)
    return inner * (3 * config.dim + (rank + 2 * state) + rank)


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, convolution with its bias, rates, bias of the step sizes, and skip."""
    inner, state, _ = mamba_sizes(config)
    bias = inner if config.conv_size > 1 else 0
    return _matrices(config) + convolution(inner, config.conv_size) + bias + inner * (state + 2)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds; each number of the state has three: for the write, the recurrence and the read."""
    inner, state, _ = mamba_sizes(config)
    return batch * length * (_matrices(config) + convolution(inner, config.conv_size) + 3 * inner * state)


def _state_size(config: ModelConfig, length: int) -> int:
    inner, state, _ = mamba_sizes(config)
    return inner * (state + config.conv_size - 1)


MIXER = MixerSpec(
    name="mamba",
    family="linear recurrence",
    summary="a selective state space between a short convolution and a gate",
    source="Mamba (arXiv 2312.00752)",
    layer="titans.mixers.mamba.layer:Mamba",
    state="titans.mixers.mamba.layer:MambaStream",
    reads=frozenset({"conv_size", "recurrent.chunk_size"}),
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.mamba.layer:scan_token_by_token",
    golden_loss=6.803621,
)
