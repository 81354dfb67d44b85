"""The layer of Mamba-2 (Dao and Gu, arXiv 2405.21060)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mamba2 import SLOWEST, mamba2_sizes
from titans.mixers.parts import CausalConvolution, RMSNorm, merge_heads, split_heads
from titans.mixers.recurrence import EPSILON, Decay, MatrixMixer, MatrixStream
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class Mamba2(MatrixMixer):
    """A state space whose state decays by a scalar for each head and token.

    One projection gives z, x, B, C and dt. A convolution with a bias and a SiLU follow on x, B and C. A token writes
    dt x with the key B and reads y with the query C; all heads share B and C. The output is norm((y + D x) silu(z)).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)
        self.heads = config.n_heads
        inner, keys = mamba2_sizes(config)
        self.widths, self.convolved = (inner, inner + 2 * keys, config.n_heads), (inner, keys, keys)
        self.project = nn.Linear(config.dim, sum(self.widths), bias=False)
        width, channels = config.conv_size, sum(self.convolved)
        self.convolution = CausalConvolution(channels, width, bias=True) if width > 1 else None
        self.decay = Decay(config.n_heads, SLOWEST)
        self.skip = nn.Parameter(self.decay.log_rate.new_ones(config.n_heads))
        self.norm = RMSNorm(inner, EPSILON)
        self.out = nn.Linear(inner, config.dim, bias=False)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        inner, keys, _ = self.convolved
        state = self.project.weight.new_zeros(batch, self.heads, keys, inner // self.heads)
        return MatrixStream(state, (None,))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        z, mixed, logits = self.project(x).split(self.widths, -1)
        (tail,) = stream.tails
        if self.convolution is not None:
            mixed, tail = self.convolution(mixed, tail)
        values, k, q = F.silu(mixed).split(self.convolved, -1)
        values, (step, log_decay) = split_heads(values, self.heads), self.decay(logits)
        given = (q.unsqueeze(1), k.unsqueeze(1), step.unsqueeze(-1) * values, log_decay)
        y, state = self.recur(stream.state, *given)
        y = merge_heads(y + self.skip.view(-1, 1, 1) * values)
        return self.out(self.norm(y * F.silu(z))), MatrixStream(state, (tail,))
