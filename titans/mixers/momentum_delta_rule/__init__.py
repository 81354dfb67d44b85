"""Momentum DeltaNet (MDN, arXiv 2605.05838): Gated DeltaNet whose writes go through a momentum."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, matrix_state, padded, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 0.75, "expand_v": 1.5}
SLOWEST = 0.0  # lower end of the uniform distributions of A, of state and momentum
LARGEST_RATIO, LARGEST_FEEDBACK = 4.0, 1.0  # upper ends of uniform distributions, from 0 on
FASTEST_MOMENTUM = -2.0  # the lowest logarithm of the momentum


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + 4 * s.dim * s.heads + readout(s, gated=True)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of the matrices, and of each chunk's masks, scores, states and triangular system."""
    s = sizes(config, PUBLISHED)
    size = min(s.chunk_size, length)
    rows = padded(length, size)
    masks, scores = rows * (size**2 + size), 2 * rows * size * s.d_k
    states = rows * (size * s.d_v + 3 * 2 * s.d_k * s.d_v)
    system = rows // size * (size * (size - 1) // 2) * (2 * s.d_k + s.d_v)
    return batch * (length * _matrices(config) + s.heads * (masks + scores + states + system))


MIXER = MixerSpec(
    name="momentum_delta_rule",
    family="linear recurrence",
    summary="Gated DeltaNet whose writes go through a momentum",
    source="Momentum DeltaNet (arXiv 2605.05838)",
    layer="titans.mixers.momentum_delta_rule.layer:MomentumDeltaNet",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v + 6 * config.n_heads,
    multiply_adds=_multiply_adds,
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED), extra=sizes(config, PUBLISHED).d_v),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.777644,
)
