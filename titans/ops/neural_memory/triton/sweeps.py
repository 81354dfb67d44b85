"""The three sweeps of the backward pass over the tiles of a chunk's state; see `backward.py`."""

from __future__ import annotations

import triton
import triton.language as tl

from titans.ops.neural_memory.triton.parts import (
    LowerSums,
    UpperSums,
    add_tile,
    add_vectors,
    keys,
    load_back,
    no_vectors,
    queries,
    store_back,
    with_residual,
)
from titans.ops.neural_memory.triton.tiles import (
    DRIFT,
    INTO_MOMENTUM,
    INTO_WEIGHTS,
    START,
    activate,
    curvature,
    dot,
    load_momentum,
    load_tile,
    load_vector,
    slope,
    store_tile,
    zeros,
)


@triton.jit
def upper_sweep(p, lower, upper, t, d, m: tl.constexpr):
    """Go back through the last layer's write and read, tile by tile."""
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
    """Store the gradients of a tile of the last layer; return those of its queries and of its keys' inputs."""
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
def lower_sweep(p, decays, ddelta, t, d, m: tl.constexpr):
    """Go back through the first layer's write and read, and up through its inner gradients, tile by tile."""
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
    """Store the gradients of a tile of the first layer; return those of its inner gradients."""
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
    """Go down from the top of the inner gradients: store dk, and add to the gradients with respect to the weights."""
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
