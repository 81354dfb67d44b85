"""The layer of full attention."""

from __future__ import annotations

from torch import Tensor

from titans.mixers.attention import Attention, KeyValues
from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig


class FullAttention(Mixer):
    """Softmax attention over all past tokens. Its key-value cache grows with the sequence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)

    def start(self, batch: int) -> KeyValues:
        """Return the state of `batch` sequences before their first token."""
        return self.attention.start(batch)

    def forward(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Mix the next tokens `[batch, time, dim]`."""
        return self.attention.full(x, past)
