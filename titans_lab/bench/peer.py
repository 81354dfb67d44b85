"""titans-pytorch's memory as a sequence mixer."""

from __future__ import annotations

import importlib
import warnings

from torch import Tensor

from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig


class TheirMemory(Mixer):
    """Its `NeuralMemory` of the same width, heads, depth, expansion and chunk, with momentum as the configuration says.

    Its `batch_size`, at whose ends the gradients' anchor moves, stays at its default, never: the faster of its ways.
    It keeps no stream: a sequence is whole.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is its own affair
            package = importlib.import_module("titans_pytorch")
        memory = config.memory
        self.memory = package.NeuralMemory(
            dim=config.dim,
            dim_head=config.head_dim,
            heads=config.n_heads,
            chunk_size=memory.chunk_size,
            momentum=memory.momentum,
            default_model_kwargs={"depth": memory.depth, "expansion_factor": float(memory.expansion)},
        )

    def start(self, batch: int) -> None:
        """There is no state."""

    def forward(self, x: Tensor, state: None) -> tuple[Tensor, None]:
        """A whole sequence `[batch, time, dim]`."""
        return self.memory(x)[0], None
