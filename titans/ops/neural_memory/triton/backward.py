"""The kernel of the backward pass: the chunks in reverse, three sweeps over the tiles of a chunk's state each.

It follows `backward_chunk` of `chunk.py`. The first sweep goes back through the read and the write of the last layer.
The second, at depth 2, goes through those of the first layer and up through the inner gradients to their top. The third
comes down from there, and is left out where the inner gradients are constants. One sweep could do what the first two
do, at two products less of 35, but then what it adds up does not fit a processor's registers.

What is needed of the forward pass is recomputed tile by tile, save for the last layer's outputs: those are sums over
all tiles, so recomputing them would take two more sweeps, and they are small.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans.ops.neural_memory.triton.parts import (
    CoefficientPointers,
    Pointers,
    keys,
    queries,
    store_vectors,
    with_residual,
)
from titans.ops.neural_memory.triton.sweeps import down_sweep, lower_sweep, upper_sweep
from titans.ops.neural_memory.triton.tiles import (
    VECTORS,
    dot,
    load_tile,
    mean,
    normalise,
    normalise_backward,
    store_tile,
    zeros,
)

ROWS = tl.constexpr(VECTORS)


@triton.jit(do_not_specialize=["chunks"])
def backward_kernel(
    q, k, v, z, u, dy, dq, dk, dv, masks, vectors, dmasks, dvectors, states, dstates, through, chunks, m: tl.constexpr
):
    """Write dq, dk, dv, dmasks and dvectors, shaped as in `forward_kernel`, and the gradient of the first state.

    dstates is `[2, N, numel]`. The gradient with respect to the state after c chunks is at c modulo 2; the one after
    all chunks is given. through is `[N, 2, chunk, width]`: room for what one sweep hands to the next.
    """
    n, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    t, d = tl.arange(0, m.tokens), tl.arange(0, m.channels)
    for back in range(chunks):
        c = chunks - 1 - back
        x, row = (n * chunks + c) * m.chunk * m.dim, c * rows + n
        dafter, dbefore = dstates + ((c + 1) % 2 * rows + n) * m.numel, dstates + (c % 2 * rows + n) * m.numel
        room = through + n * 2 * m.chunk * m.width
        p = Pointers(
            q + x, k + x, v + x, z + x, u + x, dy + x, dq + x, dk + x, dv + x, states + row * m.numel, dafter, dbefore,
            room, room + m.chunk * m.width,
        )  # fmt: skip
        lower = decays_at(masks, vectors, dmasks, dvectors, row, m)
        upper = decays_at(masks, vectors, dmasks, dvectors, row + (m.depth - 1) * chunks * rows, m)
        chunk_back(p, lower, upper, t, d, m)
        tl.debug_barrier()  # the next chunk's loads see these stores, whichever thread did them


@triton.jit
def decays_at(masks, vectors, dmasks, dvectors, row, m: tl.constexpr):
    """Return the pointers to a layer's coefficients over one chunk."""
    of_mask, of_vectors = row * m.chunk * m.chunk, row * ROWS * m.chunk
    return CoefficientPointers(masks + of_mask, vectors + of_vectors, dmasks + of_mask, dvectors + of_vectors)


@triton.jit
def chunk_back(p, lower, upper, t, d, m: tl.constexpr):
    """Store all gradients of a chunk."""
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
def upper_back(p, lower, upper, t, d, m: tl.constexpr):
    """Go back through the last layer.

    Return the gradient with respect to its inner gradient, and the read's share of those by the first layer's start and
    drift.
    """
    sums = upper_sweep(p, lower, upper, t, d, m)
    store_vectors(upper.dvectors, sums.vectors, 0.0, 0.0, t, m)
    du, mask = queries(p, t, d, m), load_tile(upper.mask, t, t, m.chunk, m.chunk)
    dscores = -dot(du, tl.trans(keys(p, t, d, m)[2]), m)
    store_tile(upper.dmask, t, t, dscores * sums.products, m.chunk, m.chunk)
    return sums.delta - dot(tl.trans(sums.products * mask), du, m), sums.start, sums.drift


@triton.jit
def lower_back(p, decays, ddelta, start, drift, t, d, m: tl.constexpr):
    """Go back through the first layer: store dq, return the gradients of k and of the last layer's inner gradient."""
    sums = lower_sweep(p, decays, ddelta, t, d, m)
    q, k = load_tile(p.q, t, d, m.chunk, m.dim), load_tile(p.k, t, d, m.chunk, m.dim)
    mask = load_tile(decays.mask, t, t, m.chunk, m.chunk)
    store_vectors(decays.dvectors, sums.vectors, start, drift, t, m)
    store_tile(decays.dmask, t, t, sums.scores * dot(q, tl.trans(k), m), m.chunk, m.chunk)
    dq = sums.q + dot(sums.scores * mask, k, m)
    store_tile(p.dq, t, d, with_residual(dq, p.dy, t, d, m), m.chunk, m.dim)
    return sums.k + dot(tl.trans(sums.scores * mask), q, m), sums.delta


@triton.jit
def top_back(z, delta, error, ddelta, d, m: tl.constexpr):
    """Go back through `inner_error`: return the gradient of the last layer's output, and minus that of the target."""
    if m.residual:
        normed, scale = normalise(z, d, m)
        through = normalise_backward(normed, scale, ddelta, d, m)
        derror = m.loss_slope * through
        curved = normed * mean(ddelta * delta, m) + mean(ddelta * normed, m) * delta + mean(error * normed, m) * through
        return normalise_backward(normed, scale, derror, d, m) - scale * curved, derror
    else:
        derror = m.loss_slope * ddelta
        return derror, derror
