"""The layer of DeltaNet (Yang et al., arXiv 2406.06484)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.deltanet import PUBLISHED
from titans.mixers.parts import Linear
from titans.mixers.recurrence import MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_delta_rule


class DeltaNet(MatrixMixer):
    """The delta rule: beta, a sigmoid of the token, says how much of the value that a key finds is replaced.

    Queries, keys and values pass a short convolution and a SiLU. Queries and keys have length 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_delta_rule)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=True, unit=True)
        self.beta = Linear(config.dim, config.n_heads, bias=False)
        self.readout = Readout(widths, gated=False)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        beta = torch.sigmoid(self.beta(x).mT.to(stream.state.dtype))
        y, state = self.recur(stream.state, q, k, v, beta)
        return self.readout(y, x), MatrixStream(state, tails)
