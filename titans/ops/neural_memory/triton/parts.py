"""The common parts of the backward sweeps: the pointers to a chunk, and the sums over its tiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from titans.ops.neural_memory.triton.tiles import (
    DECAY,
    DRIFT,
    INTO_MOMENTUM,
    INTO_WEIGHTS,
    START,
    inner_error,
    load_last,
    load_momentum,
    load_tile,
    normalise,
    normalise_backward,
    store_tile,
)


class Vectors(NamedTuple):
    """The gradients with respect to a layer's vectors over a chunk; block values in a kernel.

    Attributes:
        start, drift, into_weights, into_momentum: `[tokens]`.
        last_start, last_drift, decay: The write's share of the first two at the last token, and the gradient with
            respect to the decay. Each is yet to be summed over the rows of a tile.
    """

    start: Any
    drift: Any
    into_weights: Any
    into_momentum: Any
    last_start: Any
    last_drift: Any
    decay: Any


class UpperSums(NamedTuple):
    """The sums of the first sweep over its tiles; block values in a kernel.

    Attributes:
        delta: The gradient with respect to the last layer's inner gradient.
        products: The last layer's scores before the mask.
        vectors: The gradients with respect to the last layer's vectors.
        start, drift: The read's share of the gradients with respect to the first layer's start and drift.
    """

    delta: Any
    products: Any
    vectors: Vectors
    start: Any
    drift: Any


class LowerSums(NamedTuple):
    """The sums of the second sweep over its tiles; block values in a kernel.

    Attributes:
        q, k: The gradients with respect to queries and keys.
        delta: The gradient with respect to the last layer's inner gradient.
        scores: The gradient with respect to the first layer's masked scores.
        vectors: The gradients with respect to the first layer's vectors.
    """

    q: Any
    k: Any
    delta: Any
    scores: Any
    vectors: Vectors


class Tile(NamedTuple):
    """A tile of a layer's weights and momentum before a chunk, and the gradients with respect to them after it."""

    w: Any
    s: Any
    dw: Any
    ds: Any


class Pointers(NamedTuple):
    """The pointers to a chunk's tensors. dafter and dbefore are the gradients of the states after and before it."""

    q: Any
    k: Any
    v: Any
    z: Any
    u: Any
    dy: Any
    dq: Any
    dk: Any
    dv: Any
    state: Any
    dafter: Any
    dbefore: Any
    dx: Any
    du: Any


class CoefficientPointers(NamedTuple):
    """The pointers to a layer's mask and vectors over a chunk, and to the gradients with respect to them."""

    mask: Any
    vectors: Any
    dmask: Any
    dvectors: Any


@triton.jit
def keys(p, t, d, m: tl.constexpr):
    """Return the keys, the last layer's output for them, the inner gradient at this output, and the error.

    They are recomputed where they are needed, because the sweep has no registers to spare for keeping them.
    """
    k, z = load_tile(p.k, t, d, m.chunk, m.dim), load_tile(p.z, t, d, m.chunk, m.dim)
    delta, error = inner_error(z, k, load_tile(p.v, t, d, m.chunk, m.dim), d, m)
    return k, z, delta, error


@triton.jit
def queries(p, t, d, m: tl.constexpr):
    """Return the gradient with respect to the last layer's output for the queries."""
    du = load_tile(p.dy, t, d, m.chunk, m.dim)
    if m.residual:
        normed, scale = normalise(load_tile(p.u, t, d, m.chunk, m.dim), d, m)
        du = normalise_backward(normed, scale, du, d, m)
    return du


@triton.jit
def with_residual(gradient, dy, t, columns, m: tl.constexpr):
    """Return the gradient with respect to queries, with the part through the residual connection."""
    if m.residual:
        gradient += load_tile(dy, t, columns, m.chunk, m.dim)
    return gradient


@triton.jit
def no_vectors(TOKENS: tl.constexpr, TILE_ROWS: tl.constexpr):
    """Return vectors of zeros, where sums begin."""
    none, of_rows = tl.zeros((TOKENS,), tl.float32), tl.zeros((TILE_ROWS,), tl.float32)
    return Vectors(none, none, none, none, of_rows, of_rows, of_rows)


@triton.jit
def add_vectors(sums, tile, start, drift, into_weights, into_momentum):
    """Add a tile's share of the gradients of a layer's vectors: the row sums of the last four, and the state's own."""
    return Vectors(
        sums.start + tl.sum(start, 1),
        sums.drift + tl.sum(drift, 1),
        sums.into_weights - tl.sum(into_weights, 1),
        sums.into_momentum - tl.sum(into_momentum, 1),
        sums.last_start + tl.sum(tile.w * tile.dw, 1),
        sums.last_drift + tl.sum(tile.s * tile.dw, 1),
        sums.decay + tl.sum(tile.s * tile.ds, 1),
    )


@triton.jit
def store_vectors(dvectors, found, start, drift, t, m: tl.constexpr):
    """Store the gradients with respect to a layer's vectors, with more of those by the first two.

    The gradient with respect to the decay, one number, is stored at the first token.
    """
    real, last = t < m.chunk, t == m.chunk - 1
    start += found.start + tl.where(last, tl.sum(found.last_start), 0.0)
    drift += found.drift + tl.where(last, tl.sum(found.last_drift), 0.0)
    tl.store(dvectors + START * m.chunk + t, start, mask=real)
    tl.store(dvectors + DRIFT * m.chunk + t, drift, mask=real)
    tl.store(dvectors + INTO_WEIGHTS * m.chunk + t, found.into_weights, mask=real)
    tl.store(dvectors + INTO_MOMENTUM * m.chunk + t, found.into_momentum, mask=real)
    tl.store(dvectors + DECAY * m.chunk, tl.sum(found.decay))


@triton.jit
def load_back(p, offset, rows, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, m: tl.constexpr):
    """Load a tile of the layer at an offset in the states."""
    return Tile(
        load_tile(p.state + offset, rows, columns, HEIGHT, WIDTH),
        load_momentum(p.state + offset, rows, columns, HEIGHT, WIDTH, m),
        load_tile(p.dafter + offset, rows, columns, HEIGHT, WIDTH),
        load_tile(p.dafter + offset + m.momentum, rows, columns, HEIGHT, WIDTH),
    )


@triton.jit
def store_back(
    p, offset, rows, columns, tile, read_w, read_s, vectors, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, m: tl.constexpr
):
    """Store the gradients of a tile before the chunk, given those of the read; an unused momentum has none."""
    dw = read_w + load_last(vectors, START, m) * tile.dw
    ds = read_s + load_last(vectors, DRIFT, m) * tile.dw + load_last(vectors, DECAY, m) * tile.ds
    store_tile(p.dbefore + offset, rows, columns, dw, HEIGHT, WIDTH)
    ds = tl.zeros_like(ds) if m.reset_momentum else ds
    store_tile(p.dbefore + offset + m.momentum, rows, columns, ds, HEIGHT, WIDTH)


@triton.jit
def add_tile(base, rows, columns, value, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Add to a tile of a matrix, in place."""
    total = load_tile(base, rows, columns, HEIGHT, WIDTH) + value
    tl.debug_barrier()  # a tile smaller than the threads is loaded by several
    store_tile(base, rows, columns, total, HEIGHT, WIDTH)
