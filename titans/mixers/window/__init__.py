"""Softmax attention over a sliding window, without persistent tokens."""

from __future__ import annotations

from titans.mixers.attention_cost import ATTENTION_READS, attention_parameters, window_products, window_state
from titans.mixers.spec import MixerSpec

MIXER = MixerSpec(
    name="window",
    family="attention",
    summary="softmax attention over a sliding window, without persistent tokens",
    source="Longformer (arXiv 2004.05150)",
    layer="titans.mixers.window.layer:WindowAttention",
    state="titans.mixers.attention:KeyValues",
    reads=ATTENTION_READS | {"window"},
    head_multiple=2,
    parameters=attention_parameters,
    multiply_adds=lambda config, length, batch: window_products(config, length, batch, persistent=0),
    state_size=window_state,
    golden_loss=6.359973,
)
