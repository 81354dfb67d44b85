"""Memory as layer: sliding-window attention over what the memory makes of the sequence (V1 section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.layers.attention import Attention
from titans.layers.mag import WindowStream
from titans.layers.mixer import Mixer
from titans.layers.neural_memory import NeuralMemory
from titans.layers.parts import RMSNorm
from titans.models.config import ModelConfig


class MemoryAsLayer(Mixer):
    """SWA(M([persistent | x])): attention sees what the memory read on the persistent tokens before every window.

    Where these are not written, attention sees them as they are.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size, self.written = config.window, config.writes_persistent
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config)

    def start(self, batch: int) -> tuple[Tensor, WindowStream]:
        """Before the first token: what attention sees of the persistent tokens, and the streams."""
        read, memory = self.memory.after(self.persistent, batch)
        if not self.written:
            read, memory = self.persistent.unsqueeze(0), self.memory.start(batch)
        return read, WindowStream(memory, self.attention.start(batch))

    def forward(self, x: Tensor, stream: tuple[Tensor, WindowStream]) -> tuple[Tensor, tuple[Tensor, WindowStream]]:
        """The next tokens `[batch, time, dim]`."""
        prefix, streams = stream
        y, memory = self.memory(x, streams.memory)
        y, window = self.attention.window(self.norm(y), self.norm(prefix), self.size, streams.window)
        return y, (prefix, WindowStream(memory, window))
