"""Full softmax attention with rotary positions: the mixer of Transformer++, the baseline."""

from __future__ import annotations

from titans.mixers.attention_cost import ATTENTION_READS, attention_parameters, attention_tail
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    return batch * length * (attention_parameters(config) + 2 * length * config.dim)


MIXER = MixerSpec(
    name="transformer",
    family="attention",
    summary="full softmax attention with rotary positions: Transformer++, the baseline",
    source="Llama (arXiv 2302.13971), as in the papers' tables",
    layer="titans.mixers.transformer.layer:FullAttention",
    state="titans.mixers.attention:KeyValues",
    reads=ATTENTION_READS,
    head_multiple=2,
    parameters=attention_parameters,
    multiply_adds=_multiply_adds,
    state_size=lambda config, length: 2 * length * config.dim + 3 * attention_tail(config),
    state_grows=True,
    golden_loss=6.399844,
)
