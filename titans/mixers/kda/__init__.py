"""Kimi delta attention (KDA; Kimi Linear, arXiv 2510.26692): Gated DeltaNet whose key channels decay one by one."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, delta_rule, matrix_state, projections, readout, sizes, through
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0}


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    narrow = through(s.dim, s.d_v, s.keys) + through(s.dim, s.d_v, s.values)  # of decay and gate
    return projections(s) + s.dim * s.heads + narrow + readout(s, gated=False)


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, rate and step bias of the decay, bias of the gate, and norm."""
    s = sizes(config, PUBLISHED)
    return _matrices(config) + s.heads + s.keys + s.values + s.d_v


MIXER = MixerSpec(
    name="kda",
    family="linear recurrence",
    summary="Gated DeltaNet with a decay for each channel of the keys",
    source="Kimi Linear (arXiv 2510.26692)",
    layer="titans.mixers.kda.layer:KimiDeltaAttention",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + delta_rule(sizes(config, PUBLISHED), length, channels=True))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.398412,
)
