"""The layer of Gated DeltaNet-2 (arXiv 2605.22791)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.gated_deltanet_2 import PUBLISHED
from titans.mixers.parts import Linear, split_heads
from titans.mixers.recurrence import ChannelDecay, MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_delta_rule_2


class GatedDeltaNet2(MatrixMixer):
    """KDA whose beta is two gates: one on the channels of the erased key, one on the channels of the value."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_delta_rule_2)
        self.heads = config.n_heads
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=True, unit=True)
        self.erase = Linear(config.dim, widths.keys, bias=False)
        self.write = Linear(config.dim, widths.values, bias=False)
        self.decay = ChannelDecay(widths)
        self.readout = Readout(widths, gated=True, activation=torch.sigmoid, low_rank=True)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        erase, write = (torch.sigmoid(split_heads(gate(x), self.heads)) for gate in (self.erase, self.write))
        y, state = self.recur(stream.state, q, k, v, erase, write, self.decay(x))
        return self.readout(y, x), MatrixStream(state, tails)
