"""The Llama-style block (N25): a sequence mixer and a SwiGLU, each behind an RMSNorm and beside a residual stream."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from titans.layers.attention import FullAttention
from titans.layers.mac import MemoryAsContext
from titans.layers.mag import MemoryAsGate
from titans.layers.mal import MemoryAsLayer
from titans.layers.mixer import Mixer
from titans.layers.neural_memory import LongTermMemory
from titans.layers.parts import RMSNorm
from titans.models.config import ModelConfig

MIXERS: dict[str, type[Mixer]] = {
    "lmm": LongTermMemory,
    "mac": MemoryAsContext,
    "mag": MemoryAsGate,
    "mal": MemoryAsLayer,
    "transformer": FullAttention,
}


class SwiGLU(nn.Module):
    """Feed-forward layer with a gate (arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., dim]` to the same."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mixer_norm, self.feed_forward_norm = RMSNorm(config.dim), RMSNorm(config.dim)
        self.mixer = MIXERS[config.variant](config)
        self.feed_forward = SwiGLU(config.dim, config.hidden)

    def start(self, batch: int) -> Any:
        """The mixer's state before the first token."""
        return self.mixer.start(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next tokens `[batch, time, dim]`; the output, and the mixer's state after them."""
        y, state = self.mixer(self.mixer_norm(x), state)
        x = x + y
        return x + self.feed_forward(self.feed_forward_norm(x)), state
