"""Comba (arXiv 2506.02475): Gated DeltaNet with a weaker feedback to the state, and a feedback to the output."""

from __future__ import annotations

from dataclasses import dataclass

from titans.mixers.recurrence_cost import SIZES, delta_rule, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 0.75, "expand_v": 1.5}
SLOWEST = 0.0  # lower end of the uniform distribution of A, the rate of the decay


@dataclass(frozen=True)
class CombaConfig:
    """Settings of Comba.

    Attributes:
        output_feedback: Initial value of d: a token reads with q - d k. The authors' code has 1, and recommends to try
            0.02 for small models.
    """

    output_feedback: float = 1.0


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + 2 * s.dim * s.heads + readout(s, gated=True)


MIXER = MixerSpec(
    name="comba",
    family="linear recurrence",
    summary="Gated DeltaNet that erases with a weaker key, from before the decay, and reads with q - d k",
    source="Comba (arXiv 2506.02475)",
    layer="titans.mixers.comba.layer:Comba",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    settings=CombaConfig,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v + 4 * config.n_heads,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + delta_rule(sizes(config, PUBLISHED), length))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.960343,
)
