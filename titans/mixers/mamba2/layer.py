"""The layer of Mamba-2 (Dao and Gu, arXiv 2405.21060)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mamba2 import SLOWEST, mamba2_sizes
from titans.mixers.parts import CausalConvolution, Linear, RMSNorm, merge_heads, split_heads
from titans.mixers.recurrence import EPSILON, Decay, MatrixMixer, MatrixStream, Operator
from titans.models.config import ModelConfig
from titans.ops import gated_linear_attention


class StateSpace(MatrixMixer):
    """The projections, convolution, gate and norm around the recurrence of Mamba-2.

    One projection gives z, x, B, C and dt. A convolution with a bias and a SiLU follow on x, B and C. A token writes
    dt x with the key B and reads y with the query C; all heads share B and C. The output is norm((y + D x) silu(z)).
    """

    def __init__(self, config: ModelConfig, operator: Operator) -> None:
        super().__init__(config, operator)
        self.heads = config.n_heads
        inner, keys = mamba2_sizes(config)
        self.widths, self.convolved = (inner, inner + 2 * keys, config.n_heads), (inner, keys, keys)
        self.project = Linear(config.dim, sum(self.widths), bias=False)
        width, channels = config.conv_size, sum(self.convolved)
        self.convolution = CausalConvolution(channels, width, bias=True) if width > 1 else None
        self.decay = Decay(config.n_heads, SLOWEST)
        self.skip = nn.Parameter(self.decay.log_rate.new_ones(config.n_heads))
        self.norm = RMSNorm(inner, EPSILON)
        self.out = Linear(inner, config.dim, bias=False)

    def matrix(self, batch: int) -> Tensor:
        """Return the state of one recurrence before the first token, zeros `[batch, heads, d_k, d_v]`."""
        inner, keys, _ = self.convolved
        return self.project.weight.new_zeros(batch, self.heads, keys, inner // self.heads)

    def enter(self, x: Tensor, tail: Tensor | None) -> tuple[Inner, tuple[Tensor, ...], Tensor | None]:
        """Return the tensors for `leave`, then q, k, v and log-decay of the recurrence, and the convolution's tail.

        Args:
            x: The next tokens, `[batch, time, dim]`.
            tail: The convolution's inputs before them.
        """
        z, mixed, logits = self.project(x).split(self.widths, -1)
        if self.convolution is not None:
            mixed, tail = self.convolution(mixed, tail)
        values, k, q = F.silu(mixed).split(self.convolved, -1)
        values, (step, log_decay) = split_heads(values, self.heads), self.decay(logits)
        return Inner(values, z), (q.unsqueeze(1), k.unsqueeze(1), step.unsqueeze(-1) * values, log_decay), tail

    def leave(self, y: Tensor, inner: Inner) -> Tensor:
        """Return `[batch, time, dim]` for the recurrence's outputs `[batch, heads, time, d_v]`."""
        y = merge_heads(y + self.skip.view(-1, 1, 1) * inner.values)
        return self.out(self.norm(y * F.silu(inner.z)))


class Inner(NamedTuple):
    """The tensors that the output of a state space needs from its input side.

    Attributes:
        values: x, `[batch, heads, time, d_v]`.
        z: The gate, `[batch, time, inner]`.
    """

    values: Tensor
    z: Tensor


class Mamba2(StateSpace):
    """A state space whose state decays by a scalar for each head and token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_linear_attention)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return MatrixStream(self.matrix(batch), (None,))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        inner, given, tail = self.enter(x, *stream.tails)
        y, state = self.recur(stream.state, *given)
        return self.leave(y, inner), MatrixStream(state, (tail,))
