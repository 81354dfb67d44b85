"""The layer of gated linear attention (GLA; Yang et al., arXiv 2312.06635)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from titans.mixers.gla import PUBLISHED, RANK, TEMPERATURE
from titans.mixers.parts import Linear, biased_linear, split_heads
from titans.mixers.recurrence import MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class GatedLinearAttention(MatrixMixer):
    """Linear attention whose keys decay by sigmoid(x W_1 W_2 + b)^(1/16) for each channel. W_1 W_2 has rank 16."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)
        self.heads = config.n_heads
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=widths.conv_size > 1, unit=False)
        self.narrow = Linear(config.dim, RANK, bias=False)
        self.decay = biased_linear(RANK, widths.keys)
        self.readout = Readout(widths, gated=True)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        logits = split_heads(self.decay(self.narrow(x)), self.heads).to(stream.state.dtype)
        log_decay = F.logsigmoid(logits) / TEMPERATURE
        y, state = self.recur(stream.state, q, k, v, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
