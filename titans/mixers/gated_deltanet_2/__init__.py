"""Gated DeltaNet-2 (arXiv 2605.22791): KDA whose erasing and writing have a gate for each channel of their own."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, delta_rule, matrix_state, projections, readout, sizes, through
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0}


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    narrow = through(s.dim, s.d_v, s.keys) + through(s.dim, s.d_v, s.values)  # of decay and output gate
    return projections(s) + s.dim * (s.keys + s.values) + narrow + readout(s, gated=False)


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, rate and step bias of the decay, bias of the output gate, and norm."""
    s = sizes(config, PUBLISHED)
    return _matrices(config) + s.heads + s.keys + s.values + s.d_v


MIXER = MixerSpec(
    name="gated_deltanet_2",
    family="linear recurrence",
    summary="`kda` with a gate per channel for what a key erases, and another one for what it writes",
    source="Gated DeltaNet-2 (arXiv 2605.22791)",
    layer="titans.mixers.gated_deltanet_2.layer:GatedDeltaNet2",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + delta_rule(sizes(config, PUBLISHED), length, channels=True))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.401294,
)
