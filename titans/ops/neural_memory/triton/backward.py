"""The kernel of the backward pass: the chunks in reverse, two sweeps over the tiles of a chunk's state each.

It follows `backward_step` of `step.py`. The first sweep goes back through the read and the write of every tile, and up
through the inner gradients as far as their top; the second comes down from there, and is left out where the inner
gradients are constants. What is needed of the forward pass is recomputed tile by tile, save for the last layer's
outputs: those are sums over all tiles, so recomputing them would take two more sweeps, and they are small.
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
    """Gradients by a layer's vectors over a chunk, `[tokens]`, and by its decay, a number; in a kernel block values."""

    start: Any
    drift: Any
    into_weights: Any
    into_momentum: Any
    decay: Any


class Sums(NamedTuple):
    """What the first sweep adds up over its tiles, block values in a kernel.

    Attributes:
        q, k, delta: Gradients by the tokens, at depth 2, and by the last layer's inner gradient.
        scores: Gradients by the lower layer's masked scores.
        products: The upper layer's scores, not masked.
        lower, upper: Gradients by the layers' vectors.
    """

    q: Any
    k: Any
    delta: Any
    scores: Any
    products: Any
    lower: Vectors
    upper: Vectors


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
    through: Any


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
    given. through `[N, chunk, width]`: room to put down what the first sweep hands to the second.
    """
    n, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    t, d = tl.arange(0, m.tokens), tl.arange(0, m.channels)
    for back in range(chunks):
        c = chunks - 1 - back
        x, row = (n * chunks + c) * m.chunk * m.dim, c * rows + n
        dafter, dbefore = dstates + ((c + 1) % 2 * rows + n) * m.numel, dstates + (c % 2 * rows + n) * m.numel
        p = Places(
            q + x, k + x, v + x, z + x, u + x, dy + x, dq + x, dk + x, dv + x, states + row * m.numel, dafter, dbefore,
            through + n * m.chunk * m.width,
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
    k, z = load_tile(p.k, t, d, m.chunk, m.dim), load_tile(p.z, t, d, m.chunk, m.dim)
    delta, error = inner_error(z, k, load_tile(p.v, t, d, m.chunk, m.dim), d, m)
    du = load_tile(p.dy, t, d, m.chunk, m.dim)
    if m.residual:
        normed, scale = normalised(load_tile(p.u, t, d, m.chunk, m.dim), d, m)
        du = through_norm(normed, scale, du, d, m)
    dscores = -dot(du, tl.trans(delta), m)
    mask = load_tile(upper.mask, t, t, m.chunk, m.chunk)
    sums = first_sweep(p, lower, upper, k, delta, du, dscores * mask, t, d, m)
    store_tile(upper.dmask, t, t, dscores * sums.products, m.chunk, m.chunk)
    store_vectors(upper.dvectors, sums.upper, t, m)
    dk = sums.k
    if m.depth == 2:
        dk = lower_scores_back(p, lower, sums, k, t, d, m)
    if m.outer_gradient:
        ddelta = sums.delta - dot(tl.trans(sums.products * mask), du, m)
        dz, derror = top_back(z, delta, error, ddelta, d, m)
        store_tile(p.dv, t, d, -derror, m.chunk, m.dim)
        if m.residual:
            dk += derror
        tl.debug_barrier()  # the second sweep loads what the first, and the line above, stored
        second_sweep(p, k, dz, dk, t, d, m)


@triton.jit
def first_sweep(p, lower, upper, k, delta, du, masked, t, d, m: tl.constexpr):
    """Back through the write and the read, and up through the inner gradients."""
    q = load_tile(p.q, t, d, m.chunk, m.dim)
    if m.depth == 2:
        scores = dot(q, tl.trans(k), m) * load_tile(lower.mask, t, t, m.chunk, m.chunk)
    tokens, square = zeros(m.tokens, m.channels), zeros(m.tokens, m.tokens)
    none = tl.sum(square, 1)
    vectors = Vectors(none, none, none, none, tl.sum(none))
    sums = Sums(tokens, tokens, tokens, square, square, vectors, vectors)
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        over = load_back(p, m.upper, d, i, m.dim, m.width, m)
        if m.depth == 2:
            under = load_back(p, 0, i, d, m.width, m.dim, m)
            z = dot(k, tl.trans(under.w), m)
            x, pulled = activate(z, m), dot(delta, over.w, m)
            delta_lower = pulled * slope(z, m)
            by_w, by_s = dot(q, tl.trans(under.w), m), dot(q, tl.trans(under.s), m)
            anchored = load_vector(lower.vectors, START, t, m) * by_w + load_vector(lower.vectors, DRIFT, t, m) * by_s
            u = anchored - dot(scores, delta_lower, m)
            g = activate(u, m)
        else:
            x, g = load_tile(p.k, t, i, m.chunk, m.dim), load_tile(p.q, t, i, m.chunk, m.dim)
        sums, dg, dx, dw, ds = upper_back(sums, over, upper.vectors, x, g, delta, du, masked, t, m)
        if m.depth == 2:
            sums, ddelta, dw_lower, ds_lower = lower_back(
                sums, under, lower.vectors, q, k, by_w, by_s, delta_lower, dg * slope(u, m), scores, t, m
            )
            store_back(p, 0, i, d, dw_lower, ds_lower, m.width, m.dim, m)
            dpulled = ddelta * slope(z, m)
            dx = ddelta * pulled * curvature(z, m) + dx * slope(z, m)
            dw += dot(tl.trans(delta), dpulled, m) if m.outer_gradient else 0.0
            by_delta = sums.delta + dot(dpulled, tl.trans(over.w), m)
            sums = Sums(sums.q, sums.k, by_delta, sums.scores, sums.products, sums.lower, sums.upper)
        else:
            store_tile(p.dq, t, i, with_residual(dg, p.dy, t, i, m), m.chunk, m.dim)
        store_back(p, m.upper, d, i, dw, ds, m.dim, m.width, m)
        store_tile(p.through, t, i, dx, m.chunk, m.width)
    return sums


@triton.jit
def upper_back(sums, tile, vectors, x, g, delta, du, masked, t, m: tl.constexpr):
    """Back through the last layer's read and write: by its queries, its keys' inputs, its weights and momentum."""
    start, drift = load_vector(vectors, START, t, m), load_vector(vectors, DRIFT, t, m)
    into_w, into_s = load_vector(vectors, INTO_WEIGHTS, t, m), load_vector(vectors, INTO_MOMENTUM, t, m)
    by_w, by_s = dot(du, tile.w, m), dot(du, tile.s, m)
    back_w, back_s = dot(delta, tile.dw, m), dot(delta, tile.ds, m)
    dg = start * by_w + drift * by_s + dot(masked, x, m)
    dx = dot(tl.trans(masked), g, m) - into_w * back_w - into_s * back_s
    dw, ds = state_back(tile, dot(tl.trans(start * du), g, m), dot(tl.trans(drift * du), g, m), vectors, m)
    ddelta = sums.delta - dot(into_w * x, tl.trans(tile.dw), m) - dot(into_s * x, tl.trans(tile.ds), m)
    products = sums.products + dot(g, tl.trans(x), m)
    of_upper = add_vectors(sums.upper, tile, by_w * g, by_s * g, back_w * x, back_s * x, t, m)
    return Sums(sums.q, sums.k, ddelta, sums.scores, products, sums.lower, of_upper), dg, dx, dw, ds


@triton.jit
def lower_back(sums, tile, vectors, q, k, by_w, by_s, delta, du, scores, t, m: tl.constexpr):
    """Back through the first layer's read and write: by its inner gradients, its weights and momentum."""
    start, drift = load_vector(vectors, START, t, m), load_vector(vectors, DRIFT, t, m)
    into_w, into_s = load_vector(vectors, INTO_WEIGHTS, t, m), load_vector(vectors, INTO_MOMENTUM, t, m)
    back_w, back_s = dot(k, tl.trans(tile.dw), m), dot(k, tl.trans(tile.ds), m)
    ddelta = -dot(tl.trans(scores), du, m) - into_w * back_w - into_s * back_s
    dw, ds = state_back(tile, dot(tl.trans(start * du), q, m), dot(tl.trans(drift * du), q, m), vectors, m)
    dq = sums.q + dot(start * du, tile.w, m) + dot(drift * du, tile.s, m)
    dk = sums.k - dot(into_w * delta, tile.dw, m) - dot(into_s * delta, tile.ds, m)
    dscores = sums.scores - dot(du, tl.trans(delta), m)
    of_lower = add_vectors(sums.lower, tile, by_w * du, by_s * du, back_w * delta, back_s * delta, t, m)
    return Sums(dq, dk, sums.delta, dscores, sums.products, of_lower, sums.upper), ddelta, dw, ds


@triton.jit
def lower_scores_back(p, decays, sums, k, t, d, m: tl.constexpr):
    """Back through the first layer's scores, which are complete by now: stores dq, returns dk."""
    q = load_tile(p.q, t, d, m.chunk, m.dim)
    masked = sums.scores * load_tile(decays.mask, t, t, m.chunk, m.chunk)
    store_tile(decays.dmask, t, t, sums.scores * dot(q, tl.trans(k), m), m.chunk, m.chunk)
    store_vectors(decays.dvectors, sums.lower, t, m)
    store_tile(p.dq, t, d, with_residual(sums.q + dot(masked, k, m), p.dy, t, d, m), m.chunk, m.dim)
    return sums.k + dot(tl.trans(masked), q, m)


@triton.jit
def second_sweep(p, k, dz, dk, t, d, m: tl.constexpr):
    """Down from the top of the inner gradients: stores dk, and adds to the gradients by the weights."""
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        w = load_tile(p.state + m.upper, d, i, m.dim, m.width)
        dx = load_tile(p.through, t, i, m.chunk, m.width)
        if m.depth == 2:
            w_lower = load_tile(p.state, i, d, m.width, m.dim)
            z = dot(k, tl.trans(w_lower), m)
            x, dx = activate(z, m), dx + dot(dz, w, m) * slope(z, m)
            dk += dot(dx, w_lower, m)
            add_tile(p.dbefore, i, d, dot(tl.trans(dx), k, m), m.width, m.dim)
        else:
            x, dx = load_tile(p.k, t, i, m.chunk, m.dim), dx + dot(dz, w, m)
            if m.residual:
                dx -= load_tile(p.dv, t, i, m.chunk, m.dim)
            store_tile(p.dk, t, i, dx, m.chunk, m.dim)
        add_tile(p.dbefore + m.upper, d, i, dot(tl.trans(dz), x, m), m.dim, m.width)
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
def state_back(tile, read_w, read_s, vectors, m: tl.constexpr):
    """Gradients by weights and momentum before the chunk, from those of the read."""
    dw = read_w + load_last(vectors, START, m) * tile.dw
    ds = read_s + load_last(vectors, DRIFT, m) * tile.dw + load_last(vectors, DECAY, m) * tile.ds
    return dw, ds


@triton.jit
def add_vectors(sums, tile, start, drift, into_weights, into_momentum, t, m: tl.constexpr):
    """Add a tile's share of the gradients by a layer's vectors: rows of the last four, and the state's at the end."""
    last = t == m.chunk - 1
    return Vectors(
        sums.start + tl.sum(start, 1) + tl.where(last, tl.sum(tile.w * tile.dw), 0.0),
        sums.drift + tl.sum(drift, 1) + tl.where(last, tl.sum(tile.s * tile.dw), 0.0),
        sums.into_weights - tl.sum(into_weights, 1),
        sums.into_momentum - tl.sum(into_momentum, 1),
        sums.decay + tl.sum(tile.s * tile.ds),
    )


@triton.jit
def store_vectors(dvectors, found, t, m: tl.constexpr):
    """Gradients by a layer's vectors; of the decay's, which is one number, at the first token."""
    real = t < m.chunk
    tl.store(dvectors + START * m.chunk + t, found.start, mask=real)
    tl.store(dvectors + DRIFT * m.chunk + t, found.drift, mask=real)
    tl.store(dvectors + INTO_WEIGHTS * m.chunk + t, found.into_weights, mask=real)
    tl.store(dvectors + INTO_MOMENTUM * m.chunk + t, found.into_momentum, mask=real)
    tl.store(dvectors + DECAY * m.chunk, found.decay)


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
def store_back(p, offset, rows, columns, dw, ds, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, m: tl.constexpr):
    """Gradients by a tile before the chunk; a momentum that is not used has none."""
    store_tile(p.dbefore + offset, rows, columns, dw, HEIGHT, WIDTH)
    ds = tl.zeros_like(ds) if m.reset_momentum else ds
    store_tile(p.dbefore + offset + m.momentum, rows, columns, ds, HEIGHT, WIDTH)


@triton.jit
def add_tile(base, rows, columns, value, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Add to a tile of a matrix, in place."""
    total = load_tile(base, rows, columns, HEIGHT, WIDTH) + value
    tl.debug_barrier()  # a tile smaller than the threads is loaded by several
    store_tile(base, rows, columns, total, HEIGHT, WIDTH)
