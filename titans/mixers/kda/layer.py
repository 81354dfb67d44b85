"""The layer of Kimi delta attention (KDA; Kimi Linear, arXiv 2510.26692)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.kda import PUBLISHED
from titans.mixers.parts import Linear
from titans.mixers.recurrence import ChannelDecay, MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import kda


class KimiDeltaAttention(MatrixMixer):
    """DeltaNet with a decay for each channel of the keys, and a sigmoid gate of low rank on the output."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, kda)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=True, unit=True)
        self.beta = Linear(config.dim, config.n_heads, bias=False)
        self.decay = ChannelDecay(widths)
        self.readout = Readout(widths, gated=True, activation=torch.sigmoid, low_rank=True)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        beta = torch.sigmoid(self.beta(x).mT)
        y, state = self.recur(stream.state, q, k, v, beta, self.decay(x))
        return self.readout(y, x), MatrixStream(state, tails)
