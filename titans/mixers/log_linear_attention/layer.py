"""The layer of log-linear attention (arXiv 2506.04761), in the form of Mamba-2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.log_linear_attention import LogLinearAttentionConfig
from titans.mixers.mamba2.layer import StateSpace
from titans.mixers.parts import Linear, split_heads
from titans.mixers.recurrence import MatrixStream
from titans.models.config import ModelConfig
from titans.ops import log_linear_attention


class LogLinearAttention(StateSpace):
    """Mamba-2 whose tokens weigh each level of the past with softplus(w (x W)), w a parameter of head and level."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, log_linear_attention)
        self.levels = config.settings_of(LogLinearAttentionConfig).levels
        self.scales = Linear(config.dim, config.n_heads * self.levels, bias=False)
        self.scale_gain = nn.Parameter(torch.ones(config.n_heads * self.levels))

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token, `[batch, heads, levels, d_k, d_v]`."""
        return MatrixStream(self.matrix(batch).unsqueeze(2).repeat(1, 1, self.levels, 1, 1), (None,))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        inner, (q, k, v, log_decay), tail = self.enter(x, *stream.tails)
        scales = split_heads(F.softplus(self.scale_gain * self.scales(x)), self.heads)
        y, state = self.recur(stream.state, q, k, v, scales, log_decay, position=stream.position)
        return self.leave(y, inner), MatrixStream(state, (tail,), stream.position + x.shape[1])
