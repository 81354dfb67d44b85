"""The layer of sliding-window attention."""

from __future__ import annotations

from torch import Tensor

from titans.mixers.attention import Attention, KeyValues
from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig


class WindowAttention(Mixer):
    """Softmax attention over the last `window` tokens, without persistent tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.window
        self.attention = Attention(config)

    def start(self, batch: int) -> KeyValues:
        """Return the state of `batch` sequences before their first token."""
        return self.attention.start(batch)

    def forward(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Mix the next tokens `[batch, time, dim]`."""
        return self.attention.window(x, x.new_zeros(1, 0, x.shape[-1]), self.size, past)
