"""Gated linear attention (Yang et al., GLA, arXiv 2312.06635): each channel of the keys has a decay from the token."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.gla import PUBLISHED, RANK, TEMPERATURE
from titans.mixers.parts import linear, split_heads
from titans.mixers.recurrence import MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class GatedLinearAttention(MatrixMixer):
    """Decays sigmoid(x W_1 W_2 + b)^(1/16), W_1 of rank 16; the output normed and gated."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)
        self.heads = config.n_heads
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=widths.conv_size > 1, unit=False)
        self.narrow = nn.Linear(config.dim, RANK, bias=False)
        self.decay = linear(RANK, widths.keys)
        self.readout = Readout(widths, gated=True)

    def start(self, batch: int) -> MatrixStream:
        """Before the first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """The next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        logits = split_heads(self.decay(self.narrow(x)), self.heads).to(stream.state.dtype)
        log_decay = F.logsigmoid(logits) / TEMPERATURE
        y, state = self.recur(stream.state, q, k, v, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
