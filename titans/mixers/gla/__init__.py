"""Gated linear attention (Yang et al., GLA, arXiv 2312.06635): each channel of the keys has a decay from the token."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, channel_attention, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 0.5, "expand_v": 1.0, "conv_size": 1}
RANK, TEMPERATURE = 16, 16.0  # rank of the decay's projection, and temperature of its logits (section 4.4)


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + RANK * (s.dim + s.keys) + readout(s, gated=True)


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, bias of the decay, and norm."""
    s = sizes(config, PUBLISHED)
    return _matrices(config) + s.keys + s.d_v


MIXER = MixerSpec(
    name="gla",
    family="linear recurrence",
    summary="linear attention with a decay from the token for each channel of the keys",
    source="GLA (arXiv 2312.06635)",
    layer="titans.mixers.gla.layer:GatedLinearAttention",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES,
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=lambda config, length, batch: (
        batch * (length * _matrices(config) + channel_attention(sizes(config, PUBLISHED), length))
    ),
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.846367,
)
