"""Memory as layer: sliding-window attention over what the memory makes of the sequence (V1 section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.layers.attention import Attention
from titans.layers.neural_memory import NeuralMemory
from titans.models.config import ModelConfig


class MemoryAsLayer(nn.Module):
    """SWA(M([persistent | x])): attention sees what the memory read on the persistent tokens before every window."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.window = config.window
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)
        self.norm = nn.RMSNorm(config.dim)
        self.attention = Attention(config)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to the same."""
        prefix, state = self.memory.begin(self.persistent, x.shape[0])
        y, _, _ = self.memory(x, state)
        return self.attention.window(self.norm(y), self.norm(prefix), self.window)
