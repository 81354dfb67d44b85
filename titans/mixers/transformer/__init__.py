"""Full softmax attention with rotary positions: the mixer of Transformer++, the baseline."""

from __future__ import annotations

from titans.mixers.attention_cost import attention_parameters
from titans.mixers.spec import MixerSpec

MIXER = MixerSpec(
    name="transformer",
    family="attention",
    summary="full softmax attention with rotary positions: Transformer++, the baseline",
    source="Llama (arXiv 2302.13971), as in the papers' tables",
    layer="titans.mixers.transformer.layer:FullAttention",
    state="titans.mixers.attention:KeyValues",
    reads=frozenset({"n_heads"}),
    parameters=attention_parameters,
    multiply_adds=lambda config, length, batch: batch * length * (4 * config.dim**2 + 2 * length * config.dim),
    state_size=lambda config, length: 2 * length * config.dim,
    state_grows=True,
    golden_loss=6.399844,
)
