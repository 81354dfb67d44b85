"""TTT-Linear and TTT-MLP as mixers."""

from __future__ import annotations

from torch import Tensor

from titans.mixers.lmm.layer import MemoryStream, NeuralMemory
from titans.mixers.mixer import Mixer
from titans.mixers.ttt import LINEAR, MLP, ttt_memory
from titans.models.config import ModelConfig


class TTT(Mixer):
    """A memory in one of the forms of `titans.mixers.ttt`."""

    def __init__(self, config: ModelConfig, name: str) -> None:
        super().__init__()
        self.memory = NeuralMemory(ttt_memory(config, name))

    def start(self, batch: int) -> MemoryStream:
        """Before the first token."""
        return self.memory.start(batch)

    def forward(self, x: Tensor, stream: MemoryStream) -> tuple[Tensor, MemoryStream]:
        """The next tokens `[batch, time, dim]`."""
        return self.memory(x, stream)


class TTTLinear(TTT):
    """TTT-Linear."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, LINEAR.name)


class TTTMLP(TTT):
    """TTT-MLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, MLP.name)
