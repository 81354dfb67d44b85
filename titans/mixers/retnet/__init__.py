"""Retention (Sun et al., RetNet, arXiv 2307.08621): linear attention with rotary positions and a fixed decay a head."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, linear_attention, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 2.0, "conv_size": 1}


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    return projections(s) + readout(s, gated=True)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    s = sizes(config, PUBLISHED)
    return batch * (length * _matrices(config) + linear_attention(s.heads, s.d_k, s.d_v, length, s.chunk_size))


MIXER = MixerSpec(
    name="retnet",
    family="linear recurrence",
    summary="retention: linear attention with rotary positions and a fixed decay for each head",
    source="RetNet (arXiv 2307.08621)",
    layer="titans.mixers.retnet.layer:Retention",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES,
    published=PUBLISHED,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v,
    multiply_adds=_multiply_adds,
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED)),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.603430,
)
