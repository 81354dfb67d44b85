"""The layer of RWKV-7, its time mixing (arXiv 2503.14456). Names in quotes are the paper's."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.parts import Linear, merge_heads, split_heads
from titans.mixers.recurrence import MatrixMixer, MatrixStream
from titans.mixers.recurrence_cost import sizes
from titans.mixers.rwkv7 import FASTEST, PUBLISHED, ranks
from titans.models.config import ModelConfig
from titans.ops import rwkv7

SHIFT_POWERS = (0.2, 0.7, 0.7, 0.9, 0.9, 0.2)  # exponents of the initial token shift of r, k, v, decay, rate, gate


class RWKV7(MatrixMixer):
    """Six inputs mix a token with the one before it. From them come r, k, v, the decay, the rate and the gate.

    The removed key is k times a gain, of length 1. The added key is k, less where the rate is low. The output is a
    LayerNorm of each head, plus a bonus for the token's own value, times the gate. Initial values are those of a first
    block.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, rwkv7)
        widths = sizes(config, PUBLISHED)
        dim, keys, self.heads, self.state_shape = widths.dim, widths.keys, widths.heads, (widths.d_k, widths.d_v)
        place = torch.arange(dim) / dim
        self.shifts = nn.ParameterList(nn.Parameter(1 - place**power) for power in SHIFT_POWERS)
        self.r, self.k = _matrix(dim, keys), _matrix(dim, keys, 0.1)
        self.v, self.out = _matrix(dim, widths.values), _matrix(widths.values, dim, 0.0)
        of_decay, of_rate, of_gate = ranks(widths)
        ramp, zigzag = _ramp(keys), _zigzag(widths.heads, widths.d_k)
        self.decay = LowRank(dim, of_decay, keys, torch.tanh, 6 * ramp - 2.5 + 2.5 * zigzag)
        self.rate = LowRank(dim, of_rate, keys, None, -0.19 + 0.3 * zigzag + 0.4 * ramp)
        self.gate = LowRank(dim, of_gate, widths.values, torch.sigmoid, None)
        self.removed_gain = nn.Parameter(0.71 - 0.1 * ramp)
        self.rate_gain = nn.Parameter(torch.full((keys,), 1.02))
        self.bonus = nn.Parameter(torch.full((keys,), -0.04))
        self.norm_gain, self.norm_bias = (
            nn.Parameter(torch.ones(widths.values)),
            nn.Parameter(torch.zeros(widths.values)),
        )

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return MatrixStream(self.r.weight.new_zeros(batch, self.heads, *self.state_shape), (None,))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        (last,) = stream.tails
        before = torch.cat((torch.zeros_like(x[:, :1]) if last is None else last, x[:, :-1]), 1)
        of_r, of_k, of_v, of_decay, of_rate, of_gate = (x + mu * (before - x) for mu in self.shifts)
        k, rate = self.k(of_k), torch.sigmoid(self.rate(of_rate))
        added = k * (1 + self.rate_gain * (rate - 1))
        log_decay = FASTEST * torch.sigmoid(self.decay(of_decay))
        every = (self.r(of_r), added, self.v(of_v), k * self.removed_gain, rate, log_decay)
        r, added, v, removed, rate, log_decay = (split_heads(y, self.heads) for y in every)
        removed = F.normalize(removed, dim=-1)
        y, state = self.recur(stream.state, r, added, v, removed, rate, log_decay)
        own = (r * added * split_heads(self.bonus[None, None], self.heads)).sum(-1, keepdim=True) * v
        y = (self._normalised(y) + merge_heads(own)) * self.gate(of_gate)
        return self.out(y), MatrixStream(state, (x[:, -1:],))

    def _normalised(self, y: Tensor) -> Tensor:
        """Return the LayerNorm of each head of y `[batch, heads, time, d_v]`, as `[batch, time, values]`."""
        d_v = y.shape[-1]
        return merge_heads(F.layer_norm(y, (d_v,), eps=1e-5 * d_v)) * self.norm_gain + self.norm_bias


class LowRank(nn.Module):
    """A matrix of low rank with an activation inside: the paper's "loramlp".

    It starts as its bias alone: the first matrix is 0, and the second one small.

    Args:
        inputs, rank, outputs: Widths.
        activation: What the `rank` channels pass; None: nothing.
        bias: Its initial value, `[outputs]`; None: there is none.
    """

    def __init__(
        self, inputs: int, rank: int, outputs: int, activation: Callable[[Tensor], Tensor] | None, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.narrow, self.wide = _matrix(inputs, rank, 0.0), Linear(rank, outputs, bias=False)
        self.wide.init_std = {"weight": 0.1 * outputs**-0.5}  # type: ignore[assignment]
        self.activation = activation
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., inputs]` to `[..., outputs]`."""
        x = self.narrow(x)
        x = self.wide(x if self.activation is None else self.activation(x))
        return x if self.bias is None else x + self.bias


def _matrix(inputs: int, outputs: int, gain: float = 1.0) -> Linear:
    """Return a matrix whose entries start with `gain` times the usual standard deviation."""
    layer = Linear(inputs, outputs, bias=False)
    layer.init_std = {"weight": gain * inputs**-0.5}  # type: ignore[assignment]
    return layer


def _ramp(channels: int) -> Tensor:
    """Return -1/2 to 1/2 over all channels."""
    return torch.arange(channels) / max(1, channels - 1) - 0.5


def _zigzag(heads: int, d_k: int) -> Tensor:
    """Return x |x| for x from -1 to 1 over the channels of each head, `[heads * d_k]`."""
    x = 2 * _ramp(d_k)
    return (x * x.abs()).repeat(heads)
