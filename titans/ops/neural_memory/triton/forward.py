"""The kernel that writes and reads: two sweeps over the tiles of a chunk's state, chunk after chunk.

The first sweep takes the keys up to the last layer's output, from which the inner gradients follow; the second takes
the queries up and moves each tile of the state on. Where there is a place for each chunk's state, the states that the
backward pass needs are the ones that the chunks hand on, and keeping them costs no further traffic.
"""

from __future__ import annotations

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
    dot,
    inner_error,
    load_last,
    load_momentum,
    load_tile,
    load_vector,
    normalise,
    slope,
    store_tile,
    zeros,
)

ROWS = tl.constexpr(VECTORS)


@triton.jit(do_not_specialize=["chunks", "places"])
def forward_kernel(
    q_in, k_in, v_in, masks, vectors, states, y_out, z_out, u_out, chunks, places, KEEP: tl.constexpr, m: tl.constexpr
):
    """Write y, and with `KEEP` the last layer's output for keys z and queries u, all `[N, chunks * chunk, dim]`.

    masks is `[depth, chunks, N, chunk, chunk]` and vectors `[depth, chunks, N, VECTORS, chunk]`. states is
    `[places, N, numel]`, each weights, then momentum. The state after c chunks is at c modulo places, and the first one
    is given.
    """
    n, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    t, d = tl.arange(0, m.tokens), tl.arange(0, m.channels)
    for c in range(chunks):
        tokens = (n * chunks + c) * m.chunk * m.dim
        k = load_tile(k_in + tokens, t, d, m.chunk, m.dim)
        v = load_tile(v_in + tokens, t, d, m.chunk, m.dim)
        before = states + (c % places * rows + n) * m.numel
        after = states + ((c + 1) % places * rows + n) * m.numel
        z = last_output(k, k_in + tokens, before, t, d, m)
        delta = inner_error(z, k, v, d, m)[0]
        u = move_on(
            q_in + tokens, k_in + tokens, k, delta, masks, vectors, before, after, c * rows + n, chunks * rows, t, d, m
        )
        y = u
        if m.residual:
            y = normalise(u, d, m)[0] + load_tile(q_in + tokens, t, d, m.chunk, m.dim)
        store_tile(y_out + tokens, t, d, y, m.chunk, m.dim)
        if KEEP:
            store_tile(z_out + tokens, t, d, z, m.chunk, m.dim)
            store_tile(u_out + tokens, t, d, u, m.chunk, m.dim)
        tl.debug_barrier()  # the next chunk's loads see these stores, whichever thread did them


@triton.jit
def last_output(k, k_in, state, t, d, m: tl.constexpr):
    """Return the last layer's output for the keys, `[tokens, channels]`."""
    z = zeros(m.tokens, m.channels)
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        if m.depth == 2:
            x = activate(dot(k, tl.trans(load_tile(state, i, d, m.width, m.dim)), m), m)
        else:
            x = load_tile(k_in, t, i, m.chunk, m.dim)
        z += dot(x, tl.trans(load_tile(state + m.upper, d, i, m.dim, m.width)), m)
    return z


@triton.jit
def move_on(q_in, k_in, k, delta, masks, vectors, before, after, place, places, t, d, m: tl.constexpr):
    """Write the state after the chunk, and return the last layer's output for the queries.

    place is the chunk's place among the masks and vectors of a layer, and places is their number.
    """
    q = load_tile(q_in, t, d, m.chunk, m.dim)
    upper = vectors + ((m.depth - 1) * places + place) * ROWS * m.chunk
    lower = vectors + place * ROWS * m.chunk
    if m.depth == 2:
        scores = dot(q, tl.trans(k), m) * load_tile(masks + place * m.chunk * m.chunk, t, t, m.chunk, m.chunk)
    u, products = zeros(m.tokens, m.channels), zeros(m.tokens, m.tokens)
    for first in range(0, m.width, m.tile):
        i = first + tl.arange(0, m.tile)
        w = load_tile(before + m.upper, d, i, m.dim, m.width)
        s = load_momentum(before + m.upper, d, i, m.dim, m.width, m)
        if m.depth == 2:
            w_lower = load_tile(before, i, d, m.width, m.dim)
            s_lower = load_momentum(before, i, d, m.width, m.dim, m)
            z = dot(k, tl.trans(w_lower), m)
            x, delta_lower = activate(z, m), dot(delta, w, m) * slope(z, m)
            g = activate(anchored(q, w_lower, s_lower, lower, t, m) - dot(scores, delta_lower, m), m)
            write(after, i, d, w_lower, s_lower, delta_lower, k, lower, t, m.width, m.dim, m)
        else:
            x, g = load_tile(k_in, t, i, m.chunk, m.dim), load_tile(q_in, t, i, m.chunk, m.dim)
        u += anchored(g, w, s, upper, t, m)
        products += dot(g, tl.trans(x), m)
        write(after + m.upper, d, i, w, s, delta, x, upper, t, m.dim, m.width, m)
    mask = load_tile(masks + ((m.depth - 1) * places + place) * m.chunk * m.chunk, t, t, m.chunk, m.chunk)
    return u - dot(products * mask, delta, m)


@triton.jit
def anchored(g, w, s, vectors, t, m: tl.constexpr):
    """Return the part of the queries' outputs that comes from the state at the start of the chunk."""
    by_weights = load_vector(vectors, START, t, m) * dot(g, tl.trans(w), m)
    return by_weights + load_vector(vectors, DRIFT, t, m) * dot(g, tl.trans(s), m)


@triton.jit
def write(after, rows, columns, w, s, delta, x, vectors, t, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, m: tl.constexpr):
    """Store a tile of a layer's weights and momentum after the chunk."""
    start, drift, decay = load_last(vectors, START, m), load_last(vectors, DRIFT, m), load_last(vectors, DECAY, m)
    into_weights = dot(tl.trans(delta), load_vector(vectors, INTO_WEIGHTS, t, m) * x, m)
    into_momentum = dot(tl.trans(delta), load_vector(vectors, INTO_MOMENTUM, t, m) * x, m)
    store_tile(after, rows, columns, start * w + drift * s - into_weights, HEIGHT, WIDTH)
    store_tile(after + m.momentum, rows, columns, decay * s - into_momentum, HEIGHT, WIDTH)
