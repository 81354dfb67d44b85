"""Linear attention (Katharopoulos et al., arXiv 2006.16236): softmax replaced by a product of feature maps."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, linear_attention, matrix_state, projections, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0, "conv_size": 1}
EPSILON = 1e-6  # added to the sum of the weights, as in the published code


def _parameters(config: ModelConfig) -> int:
    s = sizes(config, PUBLISHED)
    return projections(s) + readout(s, gated=False)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    s = sizes(config, PUBLISHED)
    scan = linear_attention(s.heads, s.d_k, s.d_v + 1, length, s.chunk_size)  # the sum of the weights is one value more
    return batch * (length * _parameters(config) + scan)


MIXER = MixerSpec(
    name="linear_attention",
    family="linear recurrence",
    summary="softmax replaced by a product of feature maps, elu + 1; no decay",
    source="arXiv 2006.16236",
    layer="titans.mixers.linear_attention.layer:LinearAttention",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES,
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=lambda config, length: matrix_state(sizes(config, PUBLISHED), extra=1),
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.650902,
)
