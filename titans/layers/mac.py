"""Memory as context: attention over what the memory recalls and the segment at hand (V1 section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.layers.attention import Attention
from titans.layers.neural_memory import NeuralMemory, Tails
from titans.layers.parts import Gate
from titans.models.config import ModelConfig


class MemoryAsContext(nn.Module):
    """Segment by segment: recall with the state that the last segment left, attend, write what attention made of it.

    A causal reading of V1 eqs. 21 to 25 that keeps their order. The recall h_j stands at the rotary place of x_j and is
    seen from token j on, so nothing of the future leaks through it; each output is read after its own write.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.segment = config.segment
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.attention = Attention(config)
        self.memory = NeuralMemory(config)
        self.norm = nn.RMSNorm(config.dim)
        self.gate = Gate(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to the same."""
        state = self.memory.start(x.shape[0])
        q, _ = self.memory.q(x)
        prefix, tails, outputs = self.attention.prefix(self.persistent.unsqueeze(0)), Tails(), []
        for x_s, q_s in zip(x.split(self.segment, 1), q.split(self.segment, 2), strict=True):
            recalled = self.memory.read(q_s, x_s, state)
            y = self.norm(self.attention.context(x_s, recalled, prefix))
            learned, state, tails = self.memory(y, state, tails)
            outputs.append(self.gate(y, learned))
        return torch.cat(outputs, 1)
