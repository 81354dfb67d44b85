"""The layers of TTT-Linear and TTT-MLP (Sun et al., arXiv 2407.04620)."""

from __future__ import annotations

from torch import Tensor

from titans.mixers.lmm.layer import MemoryStream, NeuralMemory
from titans.mixers.mixer import Mixer
from titans.mixers.ttt import LINEAR, MLP, ttt_memory
from titans.models.config import ModelConfig


class TTT(Mixer):
    """A memory of the form `name`: see `ttt_memory`."""

    def __init__(self, config: ModelConfig, name: str) -> None:
        super().__init__()
        self.memory = NeuralMemory(ttt_memory(config, name))

    def start(self, batch: int) -> MemoryStream:
        """Return the state of `batch` sequences before their first token."""
        return self.memory.start(batch)

    def forward(self, x: Tensor, stream: MemoryStream) -> tuple[Tensor, MemoryStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        return self.memory(x, stream)


class TTTLinear(TTT):
    """A linear memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, LINEAR.name)


class TTTMLP(TTT):
    """A memory of two layers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, MLP.name)
