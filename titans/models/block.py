"""The Llama-style block (N25): a sequence mixer and a SwiGLU, each behind an RMSNorm and beside a residual stream."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from titans.layers.attention import FullAttention
from titans.layers.mac import MemoryAsContext
from titans.layers.mag import MemoryAsGate
from titans.layers.mal import MemoryAsLayer
from titans.layers.mixer import Mixer
from titans.layers.neural_memory import LongTermMemory
from titans.layers.parts import RMSNorm
from titans.models.config import ModelConfig

#: What a model carries from token to token: named tuples of tensors, a mixer's for each block.
ModelState = tuple[Any, ...]

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


class Blocks(nn.ModuleList):
    """The blocks of a model, one after the other: what every model here is made of, between its input and its head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(Block(config) for _ in range(config.blocks))
        self.recompute = False  # in the backward pass, go through each block once more instead of keeping what is in it

    def start(self, batch: int) -> ModelState:
        """The state before the first token, a mixer's for each block."""
        return tuple(block.start(batch) for block in self)  # type: ignore[operator]

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """The next tokens `[batch, time, dim]`, embedded; the residual stream and the state after them."""
        states = []
        for block, before in zip(self, state, strict=True):
            x, after = self._through(block, x, before)
            states.append(after)
        return x, tuple(states)

    def _through(self, block: nn.Module, x: Tensor, before: Any) -> tuple[Tensor, Any]:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, x, before, use_reentrant=False, preserve_rng_state=False)
        return block(x, before)
