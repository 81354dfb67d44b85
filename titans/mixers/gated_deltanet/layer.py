"""The layer of Gated DeltaNet (Yang, Kautz and Hatamizadeh, arXiv 2412.06464)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.gated_deltanet import PUBLISHED, SLOWEST
from titans.mixers.parts import Linear
from titans.mixers.recurrence import Decay, MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_delta_rule


class GatedDeltaNet(MatrixMixer):
    """DeltaNet with a decay for each head and token, and a gate on the output.

    As published, values are twice as wide as keys.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_delta_rule)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=True, unit=True)
        self.beta, self.step = (Linear(config.dim, config.n_heads, bias=False) for _ in range(2))
        self.decay = Decay(config.n_heads, SLOWEST)
        self.readout = Readout(widths, gated=True)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        beta = torch.sigmoid(self.beta(x).mT.to(stream.state.dtype))
        _, log_decay = self.decay(self.step(x))
        y, state = self.recur(stream.state, q, k, v, beta, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
