"""Small parts that mixers share: heads, rotary positions, the short convolution, the product of two branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.models.config import ModelConfig

#: Of a recurrence's step sizes at the start, as Mamba has them (arXiv 2312.00752): the slowest's and the fastest's.
STEP_RANGE = 0.001, 0.1


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[batch, time, heads * dim]` to `[batch, heads, time, dim]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """`[batch, heads, time, dim]` to `[batch, time, heads * dim]`."""
    return x.transpose(1, 2).flatten(2)


def rotate(x: Tensor, first: int = 0, base: float = 10_000.0) -> Tensor:
    """Rotary positions first, first + 1, ... (RoFormer, arXiv 2104.09864) on `[..., time, dim]`.

    The angles are taken in float64: in float32 those of a millionth token are off by several hundredths.
    """
    time, dim = x.shape[-2:]
    rates = base ** (-torch.arange(0, dim, 2, device=x.device, dtype=torch.float64) / dim)
    angles = torch.arange(first, first + time, device=x.device, dtype=torch.float64)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """With a bias that starts at 0: torch would draw it from its global generator, which no run seeds."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    return layer


def inverse_softplus(x: Tensor) -> Tensor:
    """Of positive numbers."""
    return x + torch.log(-torch.expm1(-x))


class RMSNorm(nn.RMSNorm):
    """With one epsilon: torch's own is that of the input's type, by which a model would differ with its precision."""

    def __init__(self, dim: int, eps: float = torch.finfo(torch.float32).eps) -> None:
        super().__init__(dim, eps=eps)


class CausalConvolution(nn.Module):
    """Depthwise convolution over time: each channel mixes its own last `width` values, and adds a bias if asked to."""

    def __init__(self, dim: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(dim, width))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x `[batch, time, dim]` and the `width - 1` inputs before it (None: zeros); the output, and the new tail."""
        if tail is None:
            tail = x.new_zeros(x.shape[0], self.width - 1, x.shape[2])
        stream = torch.cat((tail, x), 1)
        y = F.conv1d(stream.mT, self.weight.unsqueeze(1), self.bias, groups=x.shape[2]).mT
        return y, stream[:, x.shape[1] :]


class Projection(nn.Module):
    """x W, short convolution, SiLU, heads, unit length: the way to q, k and v of N25 and of its rivals.

    Args:
        dim, width: Of the input, and of the output's heads together.
        heads: How many.
        conv_size: Of the convolution; 1 is none.
        silu, unit: Whether there is a SiLU, and whether a head's vector is brought to length 1.
    """

    def __init__(self, dim: int, width: int, heads: int, conv_size: int, silu: bool, unit: bool) -> None:
        super().__init__()
        self.heads, self.silu, self.unit = heads, silu, unit
        self.linear = nn.Linear(dim, width, bias=False)
        self.convolution = CausalConvolution(width, conv_size) if conv_size > 1 else None

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """`[batch, time, dim]` to `[batch, heads, time, head_dim]`; the tail is the convolution's."""
        x = self.linear(x)
        if self.convolution is not None:
            x, tail = self.convolution(x, tail)
        x = split_heads(F.silu(x) if self.silu else x, self.heads)
        return (F.normalize(x, dim=-1, eps=1e-6) if self.unit else x), tail


class Product(nn.Module):
    """The product of two branches, attention and memory: (x) of V1 section 4.2, in one of the ways it is read."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.sigmoid = config.combine != "product"
        normalised = config.combine == "norm_sigmoid"
        self.value, self.gate = (RMSNorm(config.dim) if normalised else nn.Identity() for _ in range(2))

    def forward(self, value: Tensor, gate: Tensor) -> Tensor:
        """value, gate `[batch, time, dim]`."""
        gate = self.gate(gate)
        return self.value(value) * (torch.sigmoid(gate) if self.sigmoid else gate)
