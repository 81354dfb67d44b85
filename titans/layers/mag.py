"""Memory as gate: sliding-window attention and the memory side by side (V1 section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.layers.attention import Attention
from titans.layers.neural_memory import NeuralMemory
from titans.layers.parts import Gate
from titans.models.config import ModelConfig


class MemoryAsGate(nn.Module):
    """SWA([persistent | x]) (x) M([persistent | x])."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = config.window
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.attention = Attention(config)
        self.memory = NeuralMemory(config)
        self.gate = Gate(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to the same."""
        _, state = self.memory.begin(self.persistent, x.shape[0])
        recent = self.attention.window(x, self.persistent.unsqueeze(0), self.window)
        return self.gate(recent, self.memory(x, state)[0])
