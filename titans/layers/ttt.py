"""TTT-Linear and TTT-MLP (arXiv 2407.04620): the long-term memory without momentum and forgetting, as they write it."""

from __future__ import annotations

from torch import Tensor

from titans.layers.mixer import Mixer
from titans.layers.neural_memory import MemoryStream, NeuralMemory
from titans.models.config import ModelConfig, ttt_memory


class TTT(Mixer):
    """`name`: "ttt_linear" or "ttt_mlp"; see `ttt_memory`."""

    def __init__(self, config: ModelConfig, name: str) -> None:
        super().__init__()
        self.memory = NeuralMemory(ttt_memory(config, name))

    def start(self, batch: int) -> MemoryStream:
        """Before the first token."""
        return self.memory.start(batch)

    def forward(self, x: Tensor, stream: MemoryStream) -> tuple[Tensor, MemoryStream]:
        """The next tokens `[batch, time, dim]`."""
        return self.memory(x, stream)
