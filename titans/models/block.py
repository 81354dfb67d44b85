"""The Llama-style block (N25): a sequence mixer and a SwiGLU, each behind an RMSNorm and beside a residual stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from titans.layers.attention import FullAttention, WindowAttention
from titans.layers.deltanet import DeltaNet
from titans.layers.gated_deltanet import GatedDeltaNet
from titans.layers.gla import GatedLinearAttention
from titans.layers.linear_attention import LinearAttention
from titans.layers.lstm import LSTM
from titans.layers.mac import MemoryAsContext
from titans.layers.mag import MemoryAsGate
from titans.layers.mal import MemoryAsLayer
from titans.layers.mamba2 import Mamba2
from titans.layers.mixer import Mixer
from titans.layers.neural_memory import LongTermMemory
from titans.layers.parts import RMSNorm
from titans.layers.retnet import Retention
from titans.models.config import ModelConfig

#: Each mixer by the name that `titans.models.config` gives it.
MIXERS: dict[str, Callable[[ModelConfig], Mixer]] = {
    "lmm": LongTermMemory,
    "mac": MemoryAsContext,
    "mag": MemoryAsGate,
    "mal": MemoryAsLayer,
    "transformer": FullAttention,
    "window": WindowAttention,
    "lstm": LSTM,
    "linear_attention": LinearAttention,
    "retnet": Retention,
    "gla": GatedLinearAttention,
    "mamba2": Mamba2,
    "deltanet": DeltaNet,
    "gated_deltanet": GatedDeltaNet,
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
    """x + mixer(norm(x)), then x + feed_forward(norm(x)); the mixer by its name."""

    def __init__(self, config: ModelConfig, mixer: str) -> None:
        super().__init__()
        self.mixer_norm, self.feed_forward_norm = RMSNorm(config.dim), RMSNorm(config.dim)
        self.mixer = MIXERS[mixer](config)
        self.feed_forward = SwiGLU(config.dim, config.hidden)

    def start(self, batch: int) -> Any:
        """The mixer's state before the first token."""
        return self.mixer.start(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next tokens `[batch, time, dim]`; the output, and the mixer's state after them."""
        y, state = self.mixer(self.mixer_norm(x), state)
        x = x + y
        return x + self.feed_forward(self.feed_forward_norm(x)), state
