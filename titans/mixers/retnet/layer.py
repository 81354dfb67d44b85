"""The layer of RetNet (Sun et al., arXiv 2307.08621)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.parts import rotate
from titans.mixers.recurrence import MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.mixers.retnet import PUBLISHED
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class Retention(MatrixMixer):
    """Multi-scale retention: at each token, head h keeps the share 1 - 2^(-5 - h) of its state (eq. 8)."""

    log_decay: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=widths.conv_size > 1, unit=False)
        self.readout = Readout(widths, gated=True)
        forgotten = 2.0 ** (-5 - torch.arange(config.n_heads, dtype=torch.float64))
        self.register_buffer("log_decay", torch.log1p(-forgotten).float(), persistent=False)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        q, k = rotate(q, stream.position), rotate(k, stream.position)
        log_decay = self.log_decay.view(1, -1, 1).expand(1, -1, x.shape[1])
        y, state = self.recur(stream.state, q, k, v, log_decay)
        return self.readout(y, x), MatrixStream(state, tails, stream.position + x.shape[1])
