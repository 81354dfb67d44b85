"""The layer of memory as gate (MAG; Titans, section 4.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.mixers.attention import Attention, KeyValues
from titans.mixers.lmm import writes_persistent
from titans.mixers.lmm.layer import MemoryStream, NeuralMemory
from titans.mixers.mag import WRITES_PERSISTENT
from titans.mixers.mixer import Mixer
from titans.mixers.parts import Product
from titans.models.config import ModelConfig


class GateStream(NamedTuple):
    """The states of the memory and of the attention's window."""

    memory: MemoryStream
    window: KeyValues


class MemoryAsGate(Mixer):
    """SWA([persistent | x]) (x) M([persistent | x]): sliding-window attention and memory side by side, multiplied."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size, self.written = config.window, writes_persistent(config, WRITES_PERSISTENT)
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.attention = Attention(config)
        self.memory = NeuralMemory(config)
        self.product = Product(config)

    def start(self, batch: int) -> GateStream:
        """Return the state of `batch` sequences before their first token."""
        memory = self.memory.after(self.persistent, batch)[1] if self.written else self.memory.start(batch)
        return GateStream(memory, self.attention.start(batch))

    def forward(self, x: Tensor, stream: GateStream) -> tuple[Tensor, GateStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        recent, window = self.attention.window(x, self.persistent.unsqueeze(0), self.size, stream.window)
        recalled, memory = self.memory(x, stream.memory)
        return self.product(recent, recalled), GateStream(memory, window)
