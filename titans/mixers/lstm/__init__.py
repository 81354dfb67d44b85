"""Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from titans.mixers.spec import MixerSpec

MIXER = MixerSpec(
    name="lstm",
    family="recurrent network",
    summary="one LSTM layer as wide as the residual stream",
    source="Hochreiter and Schmidhuber, 1997 (torch's)",
    layer="titans.mixers.lstm.layer:LSTM",
    state="titans.mixers.lstm.layer:Cells",
    parameters=lambda config: 8 * config.dim**2 + 8 * config.dim,  # four gates; torch has two biases
    multiply_adds=lambda config, length, batch: batch * length * 8 * config.dim**2,
    state_size=lambda config, length: 2 * config.dim,
    golden_loss=6.925684,
)
