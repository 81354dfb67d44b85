"""MesaNet (arXiv 2506.05233): reads the values that fit all keys so far best, by ridge regression in every token."""

from __future__ import annotations

from dataclasses import dataclass

from titans.mixers.recurrence_cost import SIZES, convolution, padded, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig
from titans.models.config.checks import at_least, at_most

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0}
SMALLEST_RIDGE, FIRST_RIDGE = 0.25, 1.0  # the least that the ridge can be, and its initial value
MOST_ITERATIONS = 10_000


@dataclass(frozen=True)
class MesaNetConfig:
    """Settings of MesaNet.

    Attributes:
        iterations: Iterations of conjugate gradients in each token. Fewer ones solve less exactly.
    """

    iterations: int = 30

    def __post_init__(self) -> None:
        at_least(self, 1, "iterations")
        at_most(self, MOST_ITERATIONS, "iterations")


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    convolved = convolution(2 * s.keys, s.conv_size)  # values pass no convolution
    return s.dim * (s.channels + 2 * s.heads) + convolved + readout(s, gated=False)


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, biases of beta and decay, ridge, and norm."""
    s = sizes(config, PUBLISHED)
    return _matrices(config) + 2 * s.heads + s.keys + s.d_v


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of the matrices, the states, the iterations and the reads."""
    s = sizes(config, PUBLISHED)
    size = min(s.chunk_size, length)
    iteration = 2 * size * s.d_k + s.d_k**2
    written, read = s.d_k * (s.d_k + s.d_v), size * (s.d_k + s.d_v) + s.d_k * s.d_v
    of_token = config.settings_of(MesaNetConfig).iterations * iteration + written + read
    return batch * (length * _matrices(config) + s.heads * padded(length, size) * of_token)


def _state_size(config: ModelConfig, length: int) -> int:
    s = sizes(config, PUBLISHED)
    return s.heads * s.d_k * (s.d_k + s.d_v) + (s.conv_size - 1) * 2 * s.keys


MIXER = MixerSpec(
    name="mesanet",
    family="linear recurrence",
    summary="reads the values that fit all keys so far best, by ridge regression in every token",
    source="MesaNet (arXiv 2506.05233)",
    layer="titans.mixers.mesanet.layer:MesaNet",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    settings=MesaNetConfig,
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.mesanet.layer:solve_exactly",
    golden_loss=7.040832,
)
