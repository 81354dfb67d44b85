"""Modules and functions that several mixers share: heads, rotary positions, norm, short convolution, projections."""

from __future__ import annotations

from math import factorial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.models.config import ModelConfig
from titans.ops.linear import linear
from titans.ops.pointwise import SHORTEST, Convolution, convolve, plain_convolve, plain_rms_norm, rms_norm

#: Smallest and largest initial step size of a recurrence, as in Mamba (arXiv 2312.00752).
STEP_RANGE = 0.001, 0.1


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape `[batch, time, heads * dim]` to `[batch, heads, time, dim]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Reshape `[batch, heads, time, dim]` to `[batch, time, heads * dim]`."""
    return x.transpose(1, 2).flatten(2)


def rotate(x: Tensor, first: int = 0, base: float = 10_000.0) -> Tensor:
    """Rotate `[..., time, dim]` by the positions first, first + 1, ... (RoFormer, arXiv 2104.09864).

    Angles are computed in float64. In float32, the angle of the millionth token is wrong by several hundredths.
    """
    time, dim = x.shape[-2:]
    rates = base ** (-torch.arange(0, dim, 2, device=x.device, dtype=torch.float64) / dim)
    angles = torch.arange(first, first + time, device=x.device, dtype=torch.float64)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class HasPlainForm:
    """A module with a fused form and a plain one, which differ in speed and rounding alone.

    Attributes:
        plain: Whether the module computes with torch's own operations.
    """

    plain = False

    def use_kernel(self, kernel: str) -> None:
        """Compute with torch's own operations for "torch", and with the fused form for any other name."""
        self.plain = kernel == "torch"


class Linear(HasPlainForm, nn.Linear):
    """torch's linear layer, on a processor with the faster of its libraries' kernels: see `titans.ops.linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., inputs]` to `[..., outputs]`."""
        return (F.linear if self.plain else linear)(x, self.weight, self.bias)


def biased_linear(inputs: int, outputs: int) -> Linear:
    """Return a linear layer whose bias starts at 0. torch would draw the bias from its global generator, unseeded."""
    layer = Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    return layer


def through(inputs: int, rank: int, outputs: int, bias: bool = False) -> nn.Sequential:
    """Return two linear layers, through `rank` channels; with `bias` the second has one, which starts at 0."""
    return nn.Sequential(
        Linear(inputs, rank, bias=False), biased_linear(rank, outputs) if bias else Linear(rank, outputs, bias=False)
    )


def inverse_softplus(x: Tensor) -> Tensor:
    """Return y with softplus(y) = x for positive x `[...]`, elementwise."""
    return x + torch.log(-torch.expm1(-x))


class RMSNorm(HasPlainForm, nn.RMSNorm):
    """torch's RMSNorm with the same epsilon in every precision; torch's default depends on the input's type."""

    def __init__(self, dim: int, eps: float = torch.finfo(torch.float32).eps) -> None:
        super().__init__(dim, eps=eps)
        self.epsilon = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[..., dim]`."""
        return (plain_rms_norm if self.plain else rms_norm)(x, self.weight, self.epsilon)


class CausalConvolution(nn.Module):
    """A depthwise convolution over time: each channel mixes its own last `width` values.

    Args:
        dim: Channels.
        width: Taps.
        bias: Whether a bias is added.
    """

    def __init__(self, dim: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(dim, width))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolve the next inputs of a stream.

        Args:
            x: The next inputs, `[batch, time, dim]`.
            tail: The `width - 1` inputs before them, `[batch, width - 1, dim]`. None: zeros.

        Returns:
            The outputs, shaped like x, and the tail after x.
        """
        if tail is None:
            tail = x.new_zeros(x.shape[0], self.width - 1, x.shape[2])
        stream = torch.cat((tail, x), 1)
        y = F.conv1d(stream.mT, self.weight.unsqueeze(1), self.bias, groups=x.shape[2]).mT
        return y, stream[:, x.shape[1] :]


class Projection(HasPlainForm, nn.Module):
    """The projection to q, k or v: matrix, short convolution, SiLU, split into heads, L2 norm.

    The Titans paper's NeurIPS 2025 camera-ready has all of these, and so have linear-attention models.

    Args:
        dim: Width of the input.
        width: Width of the output's heads together.
        heads: Number of heads.
        conv_size: Taps of the convolution; 1 is no convolution.
        silu: Whether there is a SiLU.
        unit: Whether each head's vector is divided by its length.
    """

    def __init__(self, dim: int, width: int, heads: int, conv_size: int, silu: bool, unit: bool) -> None:
        super().__init__()
        self.heads, self.silu, self.unit = heads, silu, unit
        self.linear = Linear(dim, width, bias=False)
        self.convolution = CausalConvolution(width, conv_size) if conv_size > 1 else None

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return `[batch, heads, time, head_dim]` for tokens `[batch, time, dim]`, and the convolution's tail."""
        x = self.linear(x)
        if self.convolution is None:
            x = split_heads(F.silu(x) if self.silu else x, self.heads)
            return (F.normalize(x, dim=-1, eps=SHORTEST) if self.unit else x), tail
        stream, taps = x if tail is None else torch.cat((tail, x), 1), self.convolution.width - 1
        form = Convolution(self.heads, stream.shape[1] - x.shape[1], self.silu, self.unit)
        y = (plain_convolve if self.plain else convolve)(stream, self.convolution.weight, form)
        missing = max(0, taps - stream.shape[1])
        return y, F.pad(stream, (0, 0, missing, 0)) if missing else stream[:, -taps:]


class PolynomialFeatures(nn.Module):
    """A polynomial of keys and queries, element by element, with coefficients for each head.

    Paper: ATLAS (arXiv 2505.23735), section 3.1, which starts the coefficient of degree i at 1 / i!, as of the
    exponential function. The paper's features are all products of up to `degree` channels; these are the powers alone.

    Args:
        heads: Number of heads.
        degree: The highest power; the lowest is 1, so that zeros stay zeros.
        unit: Whether the result is divided by its length.
    """

    def __init__(self, heads: int, degree: int, unit: bool) -> None:
        super().__init__()
        self.heads, self.unit = heads, unit
        start = torch.tensor([1 / factorial(power) for power in range(1, degree + 1)])
        self.coefficients = nn.Parameter(start.repeat(heads))  # a vector, for matrices are drawn at random

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, heads, time, head_dim]` to the same shape."""
        total = torch.zeros_like(x)
        for coefficient in reversed(self.coefficients.view(self.heads, -1, 1, 1).unbind(1)):
            total = (total + coefficient) * x
        return F.normalize(total, dim=-1, eps=SHORTEST) if self.unit else total


class Product(nn.Module):
    """The product of attention and memory, in one of the readings of `model.combine` (Titans, section 4.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.sigmoid = config.combine != "product"
        normalised = config.combine == "norm_sigmoid"
        self.value, self.gate = (RMSNorm(config.dim) if normalised else nn.Identity() for _ in range(2))

    def forward(self, value: Tensor, gate: Tensor) -> Tensor:
        """Return the product of two branches, all `[batch, time, dim]`."""
        gate = self.gate(gate)
        return self.value(value) * (torch.sigmoid(gate) if self.sigmoid else gate)
