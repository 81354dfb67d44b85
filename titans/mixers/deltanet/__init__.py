"""DeltaNet (Yang et al., arXiv 2406.06484): what a key finds is replaced by its value, to the part that beta says."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, delta_rule, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0}


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + s.dim * s.heads + readout(s, gated=False)


MIXER = MixerSpec(
    name="deltanet",
    family="linear recurrence",
    summary="the delta rule: what a key finds is replaced by its value",
    source="DeltaNet (arXiv 2406.06484)",
    layer="titans.mixers.deltanet.layer:DeltaNet",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + delta_rule(sizes(config, PUBLISHED), length))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.554428,
)
