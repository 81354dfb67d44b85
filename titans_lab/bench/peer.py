"""titans-pytorch's memory as a sequence mixer."""

from __future__ import annotations

import importlib
import warnings

from torch import Tensor

from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig


class TheirMemory(Mixer):
    """titans-pytorch's `NeuralMemory` with the same width, heads, depth, expansion, chunk size and momentum.

    Its `batch_size`, the interval after which the gradients' anchor moves, stays at the default, never, which is its
    fastest setting. It cannot stream: it reads whole sequences.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its warnings are not for our users
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
        """Return no state."""

    def forward(self, x: Tensor, state: None) -> tuple[Tensor, None]:
        """Return the output `[batch, time, dim]` for a whole sequence `[batch, time, dim]`."""
        return self.memory(x)[0], None
