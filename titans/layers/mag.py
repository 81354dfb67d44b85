"""Memory as gate: sliding-window attention and the memory side by side (V1 section 4.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.layers.attention import Attention, KeyValues
from titans.layers.mixer import Mixer
from titans.layers.neural_memory import MemoryStream, NeuralMemory
from titans.layers.parts import Product
from titans.models.config import ModelConfig


class WindowStream(NamedTuple):
    """The memory's stream and the attention's window."""

    memory: MemoryStream
    window: KeyValues


class MemoryAsGate(Mixer):
    """SWA([persistent | x]) (x) M([persistent | x])."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size, self.written = config.window, config.writes_persistent
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.attention = Attention(config)
        self.memory = NeuralMemory(config)
        self.product = Product(config)

    def start(self, batch: int) -> WindowStream:
        """Before the first token."""
        memory = self.memory.after(self.persistent, batch)[1] if self.written else self.memory.start(batch)
        return WindowStream(memory, self.attention.start(batch))

    def forward(self, x: Tensor, stream: WindowStream) -> tuple[Tensor, WindowStream]:
        """The next tokens `[batch, time, dim]`."""
        recent, window = self.attention.window(x, self.persistent.unsqueeze(0), self.size, stream.window)
        recalled, memory = self.memory(x, stream.memory)
        return self.product(recent, recalled), WindowStream(memory, window)
