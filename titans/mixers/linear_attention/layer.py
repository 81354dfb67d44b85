"""The layer of linear attention (Katharopoulos et al., arXiv 2006.16236)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.mixers.linear_attention import EPSILON, PUBLISHED
from titans.mixers.parts import Linear, merge_heads
from titans.mixers.recurrence import MatrixMixer, MatrixStream, QueryKeyValue
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class LinearAttention(MatrixMixer):
    """y_t = sum_{i<=t} (phi(q_t) . phi(k_i)) v_i divided by the sum of these weights; phi(x) = elu(x) + 1 (eqs. 7, 9).

    The sum of the weights is one more column of the state, whose values are 1. There are no positions: the paper adds
    learned ones to the embeddings, which bound the length of a sequence.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=widths.conv_size > 1, unit=False)
        self.out = Linear(widths.values, config.dim, bias=False)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch, extra_values=1)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        values = torch.cat((v, torch.ones_like(v[..., :1])), -1)
        q, k = (F.elu(x.to(stream.state.dtype)) + 1 for x in (q, k))  # bfloat16 has no digits left for -0.998 + 1
        y, state = self.recur(stream.state, q, k, values)
        return self.out(merge_heads(y[..., :-1] / (y[..., -1:] + EPSILON))), MatrixStream(state, tails)
