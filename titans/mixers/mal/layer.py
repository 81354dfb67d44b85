"""The layer of memory as layer (MAL; Titans, section 4.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.mixers.attention import Attention, KeyValues
from titans.mixers.lmm import writes_persistent
from titans.mixers.lmm.layer import MemoryStream, NeuralMemory
from titans.mixers.mal import WRITES_PERSISTENT
from titans.mixers.mixer import Mixer
from titans.mixers.parts import RMSNorm
from titans.models.config import ModelConfig


class LayerStream(NamedTuple):
    """The state of memory as layer between two tokens.

    Attributes:
        prefix: What attention sees of the persistent tokens, `[1, tokens, dim]`.
        memory: State of the memory.
        window: State of the attention's window.
    """

    prefix: Tensor
    memory: MemoryStream
    window: KeyValues


class MemoryAsLayer(Mixer):
    """SWA(M([persistent | x])): sliding-window attention over the memory's output.

    Before every window, attention sees what the memory read after the persistent tokens, or the persistent tokens
    themselves where they are not written to the memory.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size, self.written = config.window, writes_persistent(config, WRITES_PERSISTENT)
        self.init_std = {"persistent": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config)

    def start(self, batch: int) -> LayerStream:
        """Return the state of `batch` sequences before their first token."""
        read, memory = self.memory.after(self.persistent, batch)
        if not self.written:
            read, memory = self.persistent.unsqueeze(0), self.memory.start(batch)
        return LayerStream(read, memory, self.attention.start(batch))

    def forward(self, x: Tensor, stream: LayerStream) -> tuple[Tensor, LayerStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        y, memory = self.memory(x, stream.memory)
        y, window = self.attention.window(self.norm(y), self.norm(stream.prefix), self.size, stream.window)
        return y, LayerStream(stream.prefix, memory, window)
