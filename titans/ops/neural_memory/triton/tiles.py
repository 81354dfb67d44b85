"""The common parts of the kernels: the memory's shape, tiles of matrices, products, and element-wise functions.

A program goes through the chunks of one batch entry and head. Matrices of the hidden width are gone through in tiles,
and every width is padded to a power of two: what is loaded beyond an edge is 0, and stays 0 all the way through.

Names in kernels: t are the places of a chunk's tokens, d those of a head's channels, i those of a tile of the last
layer's inputs (at depth 2 the hidden channels). g and u are on the side of the queries, x and z on that of the keys.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from titans.ops.neural_memory.mlp import EPS as MEMORY_EPS

EPS = tl.constexpr(MEMORY_EPS)
START = tl.constexpr(0)  # places in a chunk's vectors
DRIFT = tl.constexpr(1)
INTO_WEIGHTS = tl.constexpr(2)
INTO_MOMENTUM = tl.constexpr(3)
DECAY = tl.constexpr(4)
VECTORS = 5


class KernelShape(NamedTuple):
    """The shape that a kernel is compiled for.

    Attributes:
        chunk, dim, width: Tokens in a chunk, channels of a head, inputs of the last layer.
        depth: Layers, 1 or 2.
        tokens, channels, tile: chunk and dim padded, and the inputs of the last layer that are gone through at a time.
        activation, residual, loss_slope, outer_gradient: See `Switches` and `loss_slope`.
        reset_momentum: Whether every chunk starts without momentum.
        precision: The precision of the products' factors: "bf16", or "tf32" or "ieee" for float32. Sums are float32.
    """

    chunk: int
    dim: int
    width: int
    depth: int
    tokens: int
    channels: int
    tile: int
    activation: str
    residual: bool
    loss_slope: float
    outer_gradient: bool
    reset_momentum: bool
    precision: str

    @property
    def upper(self) -> int:
        """Return where the last layer's matrix begins in a state."""
        return (self.depth - 1) * self.width * self.dim

    @property
    def momentum(self) -> int:
        """Return where the momentum begins in a state."""
        return self.depth * self.width * self.dim

    @property
    def numel(self) -> int:
        """Return how many numbers a state has."""
        return 2 * self.momentum


@triton.jit
def fits(places, SIZE: tl.constexpr):
    """Return whether tiles fill a side."""
    return SIZE // places.shape[0] * places.shape[0] == SIZE


@triton.jit
def load_tile(base, rows, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Load a tile of a matrix `[HEIGHT, WIDTH]`, 0 outside of the matrix; tiles begin at multiples of their sides."""
    if fits(rows, HEIGHT) and fits(columns, WIDTH):
        return tl.load(base + rows[:, None] * WIDTH + columns[None, :])
    else:
        inside = (rows[:, None] < HEIGHT) & (columns[None, :] < WIDTH)
        return tl.load(base + rows[:, None] * WIDTH + columns[None, :], mask=inside, other=0.0)


@triton.jit
def store_tile(base, rows, columns, value, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Store the part of a tile that lies in a matrix `[HEIGHT, WIDTH]`; tiles begin at multiples of their sides."""
    if fits(rows, HEIGHT) and fits(columns, WIDTH):
        tl.store(base + rows[:, None] * WIDTH + columns[None, :], value)
    else:
        inside = (rows[:, None] < HEIGHT) & (columns[None, :] < WIDTH)
        tl.store(base + rows[:, None] * WIDTH + columns[None, :], value, mask=inside)


@triton.jit
def load_vector(vectors, which: tl.constexpr, t, m: tl.constexpr):
    """Load one of a chunk's vectors, as a column."""
    return tl.load(vectors + which * m.chunk + t, mask=t < m.chunk, other=0.0)[:, None]


@triton.jit
def load_last(vectors, which: tl.constexpr, m: tl.constexpr):
    """Load the entry of one of a chunk's vectors at the chunk's last token."""
    return tl.load(vectors + which * m.chunk + m.chunk - 1)


@triton.jit
def load_momentum(base, rows, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, m: tl.constexpr):
    """Load a tile of the momentum that a chunk starts with."""
    found = load_tile(base + m.momentum, rows, columns, HEIGHT, WIDTH)
    return tl.zeros_like(found) if m.reset_momentum else found


@triton.jit
def zeros(HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Return a block of zeros, where a sum begins."""
    return tl.zeros((HEIGHT, WIDTH), tl.float32)


@triton.jit
def dot(a, b, m: tl.constexpr):
    """Return the matrix product, with float32 sums."""
    if m.precision == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    else:
        return tl.dot(a, b, input_precision=m.precision)


@triton.jit
def activate(z, m: tl.constexpr):
    """Return the non-linearity between the layers at z."""
    if m.activation == "gelu":
        return 0.5 * z * (1 + tl.math.erf(z * 0.7071067811865476))
    elif m.activation == "silu":
        return z * tl.sigmoid(z)
    else:
        return tl.maximum(z, 0.0)


@triton.jit
def slope(z, m: tl.constexpr):
    """Return the derivative of `activate` at z."""
    if m.activation == "gelu":
        return 0.5 * (1 + tl.math.erf(z * 0.7071067811865476)) + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    elif m.activation == "silu":
        s = tl.sigmoid(z)
        return s + z * s * (1 - s)
    else:
        return (z > 0).to(tl.float32)


@triton.jit
def curvature(z, m: tl.constexpr):
    """Return the derivative of `slope` at z."""
    if m.activation == "gelu":
        return tl.exp(-0.5 * z * z) * 0.3989422804014327 * (2 - z * z)
    elif m.activation == "silu":
        s = tl.sigmoid(z)
        return s * (1 - s) * (2 + z * (1 - 2 * s))
    else:
        return z * 0.0


@triton.jit
def mean(x, m: tl.constexpr):
    """Return the mean over a head's channels; x is 0 beyond them."""
    return tl.sum(x, 1)[:, None] / m.dim


@triton.jit
def normalise(z, d, m: tl.constexpr):
    """Return LayerNorm(z), and the factor of the centred z."""
    centred = tl.where(d[None, :] < m.dim, z - mean(z, m), 0.0)
    scale = tl.rsqrt(mean(centred * centred, m) + EPS)
    return centred * scale, scale


@triton.jit
def normalise_backward(normed, scale, gradient, d, m: tl.constexpr):
    """Return the gradient with respect to z from that with respect to LayerNorm(z)."""
    through = scale * (gradient - mean(gradient, m) - normed * mean(gradient * normed, m))
    return tl.where(d[None, :] < m.dim, through, 0.0)


@triton.jit
def inner_error(z, k, v, d, m: tl.constexpr):
    """Return the inner gradient at the last layer's output, and the loss's derivative at the memory's output."""
    if m.residual:
        normed, scale = normalise(z, d, m)
        error = m.loss_slope * (k + normed - v)
        return normalise_backward(normed, scale, error, d, m), error
    else:
        error = m.loss_slope * (z - v)
        return error, error
