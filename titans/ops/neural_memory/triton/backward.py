"""The kernel of the backward pass: the chunks in reverse, three sweeps over the tiles of a chunk's state each.

It follows `backward_step` of `step.py`. The first sweep goes back through the read and the write of the last layer, the
second, at depth 2, through those of the first layer and up through the inner gradients to their top; the third comes
down from there, and is left out where the inner gradients are constants. One sweep could do what the first two do, at
two products less of 35, but then what it adds up does not fit a processor's registers.

What is needed of the forward pass is recomputed tile by tile, save for the last layer's outputs: those are sums over
all tiles, so recomputing them would take two more sweeps, and they are small.
"""

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
    VECTORS,
    activate,
    curvature,
    dot,
    inner_error,
    load_last,
    load_momentum,
    load_tile,
    load_vector,
    mean,
    normalised,
    slope,
    store_tile,
    through_norm,
    zeros,
)

ROWS = tl.constexpr(VECTORS)


class Vectors(NamedTuple):
    """Gradients by a layer's vectors over a chunk, block values in a kernel.

    Attributes:
        start, drift, into_weights, into_momentum: `[tokens]`.
        last_start, last_drift, decay: The write's share of the first two at the last token, and the gradient by the
            decay, each yet to be summed over the rows of a tile.
    """

    start: Any
    drift: Any
    into_weights: Any
    into_momentum: Any
    last_start: Any
    last_drift: Any
    decay: Any


class UpperSums(NamedTuple):
    """What the first sweep adds up over its tiles, block values in a kernel.

    Attributes:
        delta: Gradient by the last layer's inner gradient.
        products: The last layer's scores, not masked.
        vectors: Gradients by the last layer's vectors.
        start, drift: The share of the read in the gradients by the first layer's.
    """

    delta: Any
    products: Any
    vectors: Vectors
    start: Any
    drift: Any


class LowerSums(NamedTuple):
    """What the second sweep adds up: gradients by q, k, the last layer's inner gradient, the first layer's masked
    scores and its vectors. In a kernel these are block values."""

    q: Any
    k: Any
    delta: Any
    scores: Any
    vectors: Vectors


class Tile(NamedTuple):
    """A tile of a layer's weights and momentum before a chunk, and the gradients by them after it."""

    w: Any
    s: Any
    dw: Any
    ds: Any


class Places(NamedTuple):
    """Pointers to where a chunk's tensors begin; state is the one before it, dafter and dbefore gradients by states."""

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


class Decays(NamedTuple):
    """Pointers to a layer's mask and vectors over a chunk, and to the gradients by them."""

    mask: Any
    vectors: Any
    dmask: Any
    dvectors: Any


@triton.jit(do_not_specialize=["chunks"])
def backward_kernel(
    q, k, v, z, u, dy, dq, dk, dv, masks, vectors, dmasks, dvectors, states, dstates, through, chunks, m: tl.constexpr
):
    """Writes dq, dk, dv, dmasks and dvectors, shaped as in `forward_kernel`, and the gradient by the first state.

    dstates `[2, N, numel]`: the gradient by the state after c chunks is at c, counted around; the one after all is
    given. through `[N, 2, chunk, width]`: room for what one sweep hands to the next.
    """
    n, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    t, d = tl.arange(0, m.tokens), tl.arange(0, m.channels)
    for back in range(chunks):
        c = chunks - 1 - back
        x, row = (n * chunks + c) * m.chunk * m.dim, c * rows + n
        dafter, dbefore = dstates + ((c + 1) % 2 * rows + n) * m.numel, dstates + (c % 2 * rows + n) * m.numel
        room = through + n * 2 * m.chunk * m.width
        p = Places(
            q + x, k + x, v + x, z + x, u + x, dy + x, dq + x, dk + x, dv + x, states + row * m.numel, dafter, dbefore,
            room, room + m.chunk * m.width,
        )  # fmt: skip
        lower = decays_at(masks, vectors, dmasks, dvectors, row, m)
        upper = decays_at(masks, vectors, dmasks, dvectors, row + (m.depth - 1) * chunks * rows, m)
        chunk_back(p, lower, upper, t, d, m)
        tl.debug_barrier()  # the next chunk's loads see these stores, whichever thread did them


@triton.jit
def decays_at(masks, vectors, dmasks, dvectors, row, m: tl.constexpr):
    """Those at a place."""
    of_mask, of_vectors = row * m.chunk * m.chunk, row * ROWS * m.chunk
    return Decays(masks + of_mask, vectors + of_vectors, dmasks + of_mask, dvectors + of_vectors)


@triton.jit
def chunk_back(p, lower, upper, t, d, m: tl.constexpr):
    """All gradients of a chunk."""
    ddelta, start, drift = upper_back(p, lower, upper, t, d, m)
    dk = zeros(m.tokens, m.channels)
    if m.depth == 2:
        tl.debug_barrier()  # the second sweep loads what the first stored
        dk, ddelta = lower_back(p, lower, ddelta, start, drift, t, d, m)
    if m.outer_gradient:
        k, z, delta, error = keys(p, t, d, m)
        dz, derror = top_back(z, delta, error, ddelta, d, m)
        store_tile(p.dv, t, d, -derror, m.chunk, m.dim)
        if m.residual:
            dk += derror
        tl.debug_barrier()  # the third loads what the others, and the line above, stored
        down_sweep(p, k, delta, dz, dk, t, d, m)


@triton.jit
def keys(p, t, d, m: tl.constexpr):
    """The keys, the last layer's output for them, the inner gradient at it, and the error: found anew where they are
    needed, as to hold them through a sweep takes registers that it needs."""
    k, z = load_tile(p.k, t, d, m.chunk, m.dim), load_tile(p.z, t, d, m.chunk, m.dim)
    delta, error = inner_error(z, k, load_tile(p.v, t, d, m.chunk, m.dim), d, m)
    return k, z, delta, error


@triton.jit
def queries(p, t, d, m: tl.constexpr):
    """The gradient by the last layer's output for the queries."""
    du = load_tile(p.dy, t, d, m.chunk, m.dim)
    if m.residual:
        normed, scale = normalised(load_tile(p.u, t, d, m.chunk, m.dim), d, m)
        du = through_norm(normed, scale, du, d, m)
    return du


@triton.jit
def upper_back(p, lower, upper, t, d, m: tl.constexpr):
    """Back through the last layer: by its inner gradient; and the read's share of the first layer's start and drift."""
    sums = upper_sweep(p, lower, upper, t, d, m)
    store_vectors(upper.dvectors, sums.vectors, 0.0, 0.0, t, m)
    du, mask = queries(p, t, d, m), load_tile(upper.mask, t, t, m.chunk, m.chunk)
    dscores = -dot(du, tl.trans(keys(p, t, d, m)[2]), m)
    store_tile(upper.dmask, t, t, dscores * sums.products, m.chunk, m.chunk)
    return sums.delta - dot(tl.trans(sums.products * mask), du, m), sums.start, sums.drift


@triton.jit
def upper_sweep(p, lower, upper, t, d, m: tl.constexpr):
    """Back through the last layer's write and read, tile by tile."""
    q, du = load_tile(p.q, t, d, m.chunk, m.dim), queries(p, t, d, m)
    k, _, delta, _ = keys(p, t, d, m)
    masked = -dot(du, tl.trans(delta), m) * load_tile(upper.mask, t, t, m.chunk, m.chunk)
    if m.depth == 2:
        scores = dot(q, tl.trans(k), m) * load_tile(lower.mask, t, t, m.chunk, m.chunk)
    none = no_vectors(m.tokens, m.channels)
    sums = UpperSums(zeros(m.tokens, m.channels), zeros(m.tokens, m.tokens), none, none.start, none.drift)
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        tile = load_back(p, m.upper, d, i, m.dim, m.width, m)
        if m.depth == 2:
            w_lower = load_tile(p.state, i, d, m.width, m.dim)
            z, by_w = dot(k, tl.trans(w_lower), m), dot(q, tl.trans(w_lower), m)
            by_s = dot(q, tl.trans(load_momentum(p.state, i, d, m.width, m.dim, m)), m)
            anchored = load_vector(lower.vectors, START, t, m) * by_w + load_vector(lower.vectors, DRIFT, t, m) * by_s
            u = anchored - dot(scores, dot(delta, tile.w, m) * slope(z, m), m)
            x, g = activate(z, m), activate(u, m)
        else:
            x, g = load_tile(p.k, t, i, m.chunk, m.dim), load_tile(p.q, t, i, m.chunk, m.dim)
        sums, dg, dx = upper_tile(p, sums, tile, upper.vectors, x, g, delta, du, masked, t, d, i, m)
        if m.depth == 2:
            dx, dg = dx * slope(z, m), dg * slope(u, m)
            start, drift = sums.start + tl.sum(by_w * dg, 1), sums.drift + tl.sum(by_s * dg, 1)
            sums = UpperSums(sums.delta, sums.products, sums.vectors, start, drift)
            store_tile(p.du, t, i, dg, m.chunk, m.width)
        else:
            store_tile(p.dq, t, i, with_residual(dg, p.dy, t, i, m), m.chunk, m.dim)
        store_tile(p.dx, t, i, dx, m.chunk, m.width)
    return sums


@triton.jit
def upper_tile(p, sums, tile, vectors, x, g, delta, du, masked, t, d, i, m: tl.constexpr):
    """Of a tile of the last layer: stores the gradients by its state, returns those by its queries and keys' inputs."""
    start, drift = load_vector(vectors, START, t, m), load_vector(vectors, DRIFT, t, m)
    into_w, into_s = load_vector(vectors, INTO_WEIGHTS, t, m), load_vector(vectors, INTO_MOMENTUM, t, m)
    read_w, read_s = dot(tl.trans(start * du), g, m), dot(tl.trans(drift * du), g, m)
    store_back(p, m.upper, d, i, tile, read_w, read_s, vectors, m.dim, m.width, m)
    by_w, by_s = dot(du, tile.w, m), dot(du, tile.s, m)
    back_w, back_s = dot(delta, tile.dw, m), dot(delta, tile.ds, m)
    of_vectors = add_vectors(sums.vectors, tile, by_w * g, by_s * g, back_w * x, back_s * x)
    ddelta = sums.delta - into_w * dot(x, tl.trans(tile.dw), m) - into_s * dot(x, tl.trans(tile.ds), m)
    products = sums.products + dot(g, tl.trans(x), m)
    dg = start * by_w + drift * by_s + dot(masked, x, m)
    dx = dot(tl.trans(masked), g, m) - into_w * back_w - into_s * back_s
    return UpperSums(ddelta, products, of_vectors, sums.start, sums.drift), dg, dx


@triton.jit
def lower_back(p, decays, ddelta, start, drift, t, d, m: tl.constexpr):
    """Back through the first layer: stores dq, returns the gradients by k and by the last layer's inner gradient."""
    sums = lower_sweep(p, decays, ddelta, t, d, m)
    q, k = load_tile(p.q, t, d, m.chunk, m.dim), load_tile(p.k, t, d, m.chunk, m.dim)
    mask = load_tile(decays.mask, t, t, m.chunk, m.chunk)
    store_vectors(decays.dvectors, sums.vectors, start, drift, t, m)
    store_tile(decays.dmask, t, t, sums.scores * dot(q, tl.trans(k), m), m.chunk, m.chunk)
    dq = sums.q + dot(sums.scores * mask, k, m)
    store_tile(p.dq, t, d, with_residual(dq, p.dy, t, d, m), m.chunk, m.dim)
    return sums.k + dot(tl.trans(sums.scores * mask), q, m), sums.delta


@triton.jit
def lower_sweep(p, decays, ddelta, t, d, m: tl.constexpr):
    """Back through the first layer's write and read, and up through its inner gradients, tile by tile."""
    q = load_tile(p.q, t, d, m.chunk, m.dim)
    k, _, delta, _ = keys(p, t, d, m)
    scores = dot(q, tl.trans(k), m) * load_tile(decays.mask, t, t, m.chunk, m.chunk)
    tokens = zeros(m.tokens, m.channels)
    sums = LowerSums(tokens, tokens, ddelta, zeros(m.tokens, m.tokens), no_vectors(m.tokens, m.tile))
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        tile = load_back(p, 0, i, d, m.width, m.dim, m)
        w_upper = load_tile(p.state + m.upper, d, i, m.dim, m.width)
        z, pulled = dot(k, tl.trans(tile.w), m), dot(delta, w_upper, m)
        du, dx = load_tile(p.du, t, i, m.chunk, m.width), load_tile(p.dx, t, i, m.chunk, m.width)
        sums, ddelta_lower = lower_tile(
            p, sums, tile, decays.vectors, q, k, pulled * slope(z, m), du, scores, t, d, i, m
        )
        dpulled, dz = ddelta_lower * slope(z, m), dx + ddelta_lower * pulled * curvature(z, m)
        by_delta = sums.delta + dot(dpulled, tl.trans(w_upper), m)
        sums = LowerSums(sums.q, sums.k, by_delta, sums.scores, sums.vectors)
        tl.debug_barrier()  # all have loaded what is replaced now
        store_tile(p.du, t, i, dpulled, m.chunk, m.width)
        store_tile(p.dx, t, i, dz, m.chunk, m.width)
    return sums


@triton.jit
def lower_tile(p, sums, tile, vectors, q, k, delta, du, scores, t, d, i, m: tl.constexpr):
    """Of a tile of the first layer: stores the gradients by its state, returns those by its inner gradients."""
    start, drift = load_vector(vectors, START, t, m), load_vector(vectors, DRIFT, t, m)
    into_w, into_s = load_vector(vectors, INTO_WEIGHTS, t, m), load_vector(vectors, INTO_MOMENTUM, t, m)
    read_w, read_s = dot(tl.trans(start * du), q, m), dot(tl.trans(drift * du), q, m)
    store_back(p, 0, i, d, tile, read_w, read_s, vectors, m.width, m.dim, m)
    back_w, back_s = dot(k, tl.trans(tile.dw), m), dot(k, tl.trans(tile.ds), m)
    nothing = zeros(m.tokens, m.tile)
    of_vectors = add_vectors(sums.vectors, tile, nothing, nothing, back_w * delta, back_s * delta)
    dq = sums.q + start * dot(du, tile.w, m) + drift * dot(du, tile.s, m)
    dk = sums.k - into_w * dot(delta, tile.dw, m) - into_s * dot(delta, tile.ds, m)
    dscores = sums.scores - dot(du, tl.trans(delta), m)
    ddelta = -dot(tl.trans(scores), du, m) - into_w * back_w - into_s * back_s
    return LowerSums(dq, dk, sums.delta, dscores, of_vectors), ddelta


@triton.jit
def down_sweep(p, k, delta, dz, dk, t, d, m: tl.constexpr):
    """Down from the top of the inner gradients: stores dk, and adds to the gradients by the weights."""
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        dx = load_tile(p.dx, t, i, m.chunk, m.width)
        down = dot(dz, load_tile(p.state + m.upper, d, i, m.dim, m.width), m)
        if m.depth == 2:
            w_lower = load_tile(p.state, i, d, m.width, m.dim)
            z = dot(k, tl.trans(w_lower), m)
            dx += down * slope(z, m)
            dk += dot(dx, w_lower, m)
            add_tile(p.dbefore, i, d, dot(tl.trans(dx), k, m), m.width, m.dim)
            by_w = dot(tl.trans(dz), activate(z, m), m)
            by_w += dot(tl.trans(delta), load_tile(p.du, t, i, m.chunk, m.width), m)
        else:
            dx += down
            if m.residual:
                dx -= load_tile(p.dv, t, i, m.chunk, m.dim)
            store_tile(p.dk, t, i, dx, m.chunk, m.dim)
            by_w = dot(tl.trans(dz), load_tile(p.k, t, i, m.chunk, m.dim), m)
        add_tile(p.dbefore + m.upper, d, i, by_w, m.dim, m.width)
    if m.depth == 2:
        store_tile(p.dk, t, d, dk, m.chunk, m.dim)


@triton.jit
def top_back(z, delta, error, ddelta, d, m: tl.constexpr):
    """Back through `inner_error`: by the last layer's output, and by the target with its sign changed."""
    if m.residual:
        normed, scale = normalised(z, d, m)
        through = through_norm(normed, scale, ddelta, d, m)
        derror = m.loss_slope * through
        curved = normed * mean(ddelta * delta, m) + mean(ddelta * normed, m) * delta + mean(error * normed, m) * through
        return through_norm(normed, scale, derror, d, m) - scale * curved, derror
    else:
        derror = m.loss_slope * ddelta
        return derror, derror


@triton.jit
def with_residual(gradient, dy, t, columns, m: tl.constexpr):
    """The gradient by queries, with what reaches them beside the memory's layers."""
    if m.residual:
        gradient += load_tile(dy, t, columns, m.chunk, m.dim)
    return gradient


@triton.jit
def no_vectors(TOKENS: tl.constexpr, TILE_ROWS: tl.constexpr):
    """Where sums begin."""
    none, of_rows = tl.zeros((TOKENS,), tl.float32), tl.zeros((TILE_ROWS,), tl.float32)
    return Vectors(none, none, none, none, of_rows, of_rows, of_rows)


@triton.jit
def add_vectors(sums, tile, start, drift, into_weights, into_momentum):
    """Add a tile's share of the gradients by a layer's vectors: the row sums of the last four, and the state's own."""
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
    """Gradients by a layer's vectors, with more of the first two's; of the decay's, one number, at the first token."""
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
    """A tile of the layer at an offset in the states."""
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
    """Gradients by a tile before the chunk, from those of the read; a momentum that is not used has none."""
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
