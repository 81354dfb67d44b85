"""The closed form of the memory: masked matrix products, no weight tensor per token, for every depth.

With x_i a layer's input on the key side and delta_i the gradient at its output, both at the chunk's start (M_0, S_0),
a query g_t passes the layer as

    z_t = start_t (W_0 g_t) + drift_t (S_0 g_t) - sum_{i<=t} mask[t, i] (x_i . g_t) delta_i

which is an attention of queries over keys whose mask is the memory's own decay. Chunks follow one another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from titans.ops.neural_memory.coefficients import Coefficients, chunk_coefficients
from titans.ops.neural_memory.mlp import activate, finish, inner_gradient
from titans.ops.neural_memory.state import MemoryState, check


def neural_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    theta: Tensor,
    eta: Tensor | None,
    alpha: Tensor | None,
    state: MemoryState,
    chunk_size: int = 16,
    activation: str = "gelu",
    residual: bool = False,
    loss: str = "sum",
    outer_gradient: bool = True,
) -> tuple[Tensor, MemoryState]:
    """Write every (k, v) into the memory by a step of gradient descent, and read it with q after each write.

    Paper: arXiv 2501.00663, eqs. 8 to 15 and section 3.2; y_t = M_t(q_t).

    Args:
        q, k, v: `[batch, heads, time, dim]`.
        theta: Step size, at least 0: `[batch, heads, time]`, or `[batch, heads, time, layers]` for a gate per layer.
        eta: Momentum in [0, 1], shaped likewise; None: none.
        alpha: Forgetting in [0, 1], shaped likewise; None: none.
        state: Weights and momentum to start from.
        chunk_size: Tokens whose inner gradients are taken at the weights that the chunk started with; 1 is the
            recurrence itself. Time need not be a multiple.
        activation: "gelu" (exact), "silu" or "relu", between the layers.
        residual: M(x) = x + LayerNorm(mlp(x)), without gain, eps 1e-5.
        loss: "sum", "mean" or "half", of the squared error over dim.
        outer_gradient: False: the inner gradients are constants to the outer ones; k and v then get none.

    Returns:
        y `[batch, heads, time, dim]`, and the state after the last token: a call on a whole sequence equals calls on
        its parts, split at chunk boundaries, with the state handed on.

    Raises:
        ValueError: Shapes, dtypes, devices or ranges that do not fit; the message names the argument.
    """
    check(q, k, v, theta, eta, alpha, state, chunk_size, activation, loss)
    outputs = []
    parts = zip(
        q.split(chunk_size, 2), k.split(chunk_size, 2), v.split(chunk_size, 2),
        chunk_coefficients(theta, eta, alpha, chunk_size), strict=True,
    )  # fmt: skip
    for q_c, k_c, v_c, coefficients in parts:
        xs, deltas = _surprise(state.weights, k_c, v_c, activation, residual, loss, outer_gradient)
        z = q_c
        for layer, (x, delta) in enumerate(zip(xs, deltas, strict=True)):
            z = _read(activate(z, activation) if layer else z, x, delta, state, coefficients, layer)
        outputs.append(finish(q_c, z, residual))
        state = _write(xs, deltas, state, coefficients)
    return torch.cat(outputs, 2), state


def _surprise(
    weights: tuple[Tensor, ...], k: Tensor, v: Tensor, activation: str, residual: bool, loss: str, outer_gradient: bool
) -> tuple[list[Tensor], list[Tensor]]:
    if not outer_gradient:
        weights, k, v = tuple(w.detach() for w in weights), k.detach(), v.detach()
    return inner_gradient(weights, k, v, activation, residual, loss)


def _read(g: Tensor, x: Tensor, delta: Tensor, state: MemoryState, c: Coefficients, layer: int) -> Tensor:
    """Pass the queries g of a chunk through a layer whose weights each token has moved on."""
    s = min(layer, c.mask.shape[0] - 1)
    scores = (g @ x.mT) * c.mask[s]
    anchored = c.start[s, ..., None] * (g @ state.weights[layer].mT)
    drifted = c.drift[s, ..., None] * (g @ state.momentum[layer].mT)
    return anchored + drifted - scores @ delta


def _write(xs: list[Tensor], deltas: list[Tensor], state: MemoryState, c: Coefficients) -> MemoryState:
    """The state after the chunk."""
    weights, momentum = [], []
    for layer, (x, delta) in enumerate(zip(xs, deltas, strict=True)):
        s = min(layer, c.mask.shape[0] - 1)
        w, m = state.weights[layer], state.momentum[layer]
        kept = torch.stack((c.mask[s, ..., -1, :], c.momentum_mask[s]), -1)  # of each write, in weights and momentum
        d_out = delta.shape[-1]
        writes = (kept.unsqueeze(-1) * delta.unsqueeze(-2)).flatten(-2).mT @ x
        into_weights, into_momentum = writes.split(d_out, -2)
        start, drift, decay = (y[..., None, None] for y in (c.start[s, ..., -1], c.drift[s, ..., -1], c.momentum_start[s]))
        weights.append(start * w + drift * m - into_weights)
        momentum.append(decay * m - into_momentum)
    return MemoryState(tuple(weights), tuple(momentum))
