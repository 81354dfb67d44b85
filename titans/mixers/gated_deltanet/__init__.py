"""Gated DeltaNet (Yang, Kautz and Hatamizadeh, arXiv 2412.06464): DeltaNet with Mamba-2's decay."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, delta_rule, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 0.75, "expand_v": 1.5}
SLOWEST = 0.0  # lower end of the uniform distribution of A


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + 2 * s.dim * s.heads + readout(s, gated=True)


MIXER = MixerSpec(
    name="gated_deltanet",
    family="linear recurrence",
    summary="the delta rule with Mamba-2's decay",
    source="Gated DeltaNet (arXiv 2412.06464)",
    layer="titans.mixers.gated_deltanet.layer:GatedDeltaNet",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v + 2 * config.n_heads,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + delta_rule(sizes(config, PUBLISHED), length))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.864131,
)
