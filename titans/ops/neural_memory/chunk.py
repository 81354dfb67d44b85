"""One chunk of the memory in torch: the closed form, forward for every switch and backward by hand for the common ones.

With x_i a layer's input on the key side and delta_i the gradient at its output, both at the chunk's start (W, S), a
query g_t passes the layer as

    u_t = W (start_t g_t) + S (drift_t g_t) - sum_{i<=t} (mask[t, i] x_i . g_t) delta_i

which is an attention of queries over keys whose mask is the memory's own decay. So a chunk is matrix products over all
heads, and no weight tensor is formed per token.

`backward_chunk` differentiates `forward_chunk` by hand where `backward_covers` says so. It keeps only the matrix
products and recomputes the element-wise results that follow from them, which autograd would keep too. For the rare
switches autograd differentiates `forward_chunk`, so a new switch needs only a forward pass.

Shape suffixes: N is batch and heads together, C the tokens of the chunk, D the width of a head, O and I the outputs and
inputs of a layer. Queries g have pre-activations u; keys x have pre-activations z; delta is the inner gradient at z.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.coefficients import Coefficients
from titans.ops.neural_memory.mlp import (
    Factors,
    Surprise,
    activate,
    inner_gradient,
    inner_gradient_backward,
    normalise,
    normalise_backward,
    read_memory,
    slope,
)
from titans.ops.neural_memory.state import LaggedState, MemoryState, State, Switches


class Products(NamedTuple):
    """The products of the forward pass that the backward pass needs; see `Surprise`.

    Attributes:
        z, u: The outputs of each layer for keys and for queries, `[N, C, O]`.
        pulled: The inner gradient at the inputs of each layer but the first, `[N, C, I]`.
    """

    z: tuple[Tensor, ...]
    pulled: tuple[Tensor, ...]
    u: tuple[Tensor, ...]


class Gradients(NamedTuple):
    """The gradients of a chunk, or of several together.

    Attributes:
        q, k, v: `[N, time, D]`. Those by k and v are None where the inner gradients are constants.
        coefficients: For each layer, those of a chunk or stacked ones; in the form that the scan has them in.
        state: The gradient with respect to the state before the first token.
    """

    q: Tensor
    k: Tensor | None
    v: Tensor | None
    coefficients: list[Any]
    state: MemoryState


def forward_chunk(
    switches: Switches, state: State, coefficients: Sequence[Coefficients | None], q: Tensor, k: Tensor, v: Tensor,
    threshold: Tensor | None = None,
) -> tuple[Tensor, State, Products]:  # fmt: skip
    """Write a chunk into the memory, and read the memory with each query.

    Args:
        switches: How the memory is built, written and read.
        state: The state before the chunk, `[N, O, I]` for each layer; a gain is `[N, D]`.
        coefficients: The gate coefficients of each layer `[N, ...]`; None for a layer that is not written.
        q, k, v: `[N, C, D]`; with a window, k and v begin with those of its halo.
        threshold: The thresholds of the objective huber, `[N, C, 1]`, halo included; None for the others.

    Returns:
        What was read `[N, C, D]`, the state after the chunk, and what the backward pass needs.
    """
    inner = (state.weights, k, v)
    if not switches.outer_gradient:
        inner = tuple(w.detach() for w in state.weights), k.detach(), v.detach()
        threshold = None if threshold is None else threshold.detach()
    surprise = inner_gradient(*inner, switches, threshold=threshold)
    y, u = read_chunk(switches, state, coefficients, surprise, q)
    after = write_chunk(switches, state, coefficients, surprise)
    return y, after, Products(tuple(surprise.z), tuple(surprise.pulled), u)


def read_chunk(
    switches: Switches, state: State, coefficients: Sequence[Coefficients | None], surprise: Surprise, q: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the reads of the queries `[N, C, D]` of a chunk, and each layer's outputs for them `[N, C, O]`."""
    if switches.read != "token":
        lags = switches.read == "previous" and isinstance(state, LaggedState)
        weights = state.lagged if lags else state.weights  # type: ignore[union-attr]
        return read_memory(weights, q, switches.activation, switches.residual, switches.gain), ()
    u: list[Tensor] = []
    for layer in range(len(state.weights) - switches.gain):
        g = activate(u[-1], switches.activation) if layer else q
        u.append(_read_layer(state, coefficients, surprise, layer, g))
    if not switches.residual:
        return u[-1], tuple(u)
    normed = normalise(u[-1])[0]
    return q + (normed * (1 + _read_gain(state, coefficients, surprise)) if switches.gain else normed), tuple(u)


def write_chunk(
    switches: Switches, state: State, coefficients: Sequence[Coefficients | None], surprise: Surprise
) -> State:
    """Return the state after a chunk, `[N, O, I]` for each layer, from the surprise of its tokens."""
    layers = zip(state.weights, state.momentum, coefficients, surprise.x, surprise.delta, strict=True)
    weights, momentum = zip(*(_write_layer(*of_layer) for of_layer in layers), strict=True)
    if switches.read == "previous":
        return LaggedState(weights, momentum, state.weights)
    return MemoryState(weights, momentum)


def _read_layer(
    state: State, coefficients: Sequence[Coefficients | None], surprise: Surprise, layer: int, g: Tensor
) -> Tensor:
    """Pass queries through a layer whose weights every token has moved on."""
    w, s, c = state.weights[layer], state.momentum[layer], coefficients[layer]
    if c is None:
        return torch.bmm(g, w.mT)
    x, delta = surprise.x[layer], surprise.delta[layer]
    if isinstance(c.mask, Tensor):
        scores = torch.bmm(g, x.mT) * c.mask
        anchored = torch.bmm(g, w.mT) * c.start + torch.bmm(g, s.mT) * c.drift
    else:
        scores = c.mask.scores(g, x)
        anchored = torch.bmm(c.start * g, w.mT) + torch.bmm(c.drift * g, s.mT)
    return anchored - torch.bmm(scores, delta)


def _read_gain(state: State, coefficients: Sequence[Coefficients | None], surprise: Surprise) -> Tensor:
    """Return the gain less 1 that each token reads with, `[N, C, D]`."""
    w, s, c = state.weights[-1].unsqueeze(1), state.momentum[-1].unsqueeze(1), coefficients[-1]
    if c is None:
        return w
    assert isinstance(c.mask, Tensor)
    return c.start * w + c.drift * s - torch.bmm(c.mask, surprise.x[-1])


def _write_layer(w: Tensor, s: Tensor, c: Coefficients | None, x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Return a layer's weights and momentum after the chunk."""
    if c is None:
        return w, s
    start, drift, decay = c.start[:, -1:], c.drift[:, -1:], c.decay
    into_weights, into_momentum = c.into_weights * x, c.into_momentum * x
    if w.dim() == 2:  # a gain
        after = start[..., 0] * w + drift[..., 0] * s - into_weights.sum(1)
        return after, decay[..., 0] * s - into_momentum.sum(1)
    after = start * w + drift * s - torch.bmm(delta.mT, into_weights)
    return after, decay * s - torch.bmm(delta.mT, into_momentum)


def backward_covers(switches: Switches, per_channel: bool) -> bool:
    """Return whether `backward_chunk` can differentiate a chunk; `per_channel`: some gate has a value per channel."""
    plain = switches.written is None and not switches.gain and switches.objective != "huber" and switches.window == 1
    return switches.read == "token" and switches.optimizer == "gd" and plain and not per_channel


def backward_chunk(
    switches: Switches, state: State, coefficients: Sequence[Coefficients], q: Tensor, k: Tensor, v: Tensor,
    products: Products, dy: Tensor, dstate: MemoryState,
) -> Gradients:  # fmt: skip
    """Return the gradients of a chunk, through the inner gradients too, whose own derivative is in them.

    Args:
        switches, state, coefficients, q, k, v: The arguments of `forward_chunk`, where `backward_covers` holds.
        products: What `forward_chunk` returned for the backward pass.
        dy: The gradient with respect to what was read, `[N, C, D]`.
        dstate: The gradient with respect to the state after the chunk, `[N, O, I]` for each layer.
    """
    surprise = inner_gradient(state.weights, k, v, switches, products.z, products.pulled)
    du = normalise_backward(normalise(products.u[-1]), dy) if switches.residual else dy
    parts: list[_LayerGradients] = []
    factors: list[Factors] = []
    for layer in reversed(range(len(state.weights))):
        g = activate(products.u[layer - 1], switches.activation) if layer else q
        factors.insert(0, [(coefficients[layer].start * du, g)])
        dg, part = _layer_backward(state, coefficients, surprise, dstate, layer, g, du)
        parts.insert(0, part)
        du = dg * slope(products.u[layer - 1], switches.activation) if layer else dg
    dmomentum, dx, ddelta, dcoefficients = zip(*parts, strict=True)
    dk = dv = None
    if switches.outer_gradient:
        dk, dv, more = inner_gradient_backward(state.weights, v, surprise, dx, ddelta, switches)
        factors = [a + b for a, b in zip(factors, more, strict=True)]
    left = (c.start[:, -1:] * dw for c, dw in zip(coefficients, dstate.weights, strict=True))
    dweights = tuple(dw + _product(pairs) for dw, pairs in zip(left, factors, strict=True))
    dq = du + dy if switches.residual else du
    return Gradients(dq, dk, dv, list(dcoefficients), MemoryState(dweights, dmomentum))


class _LayerGradients(NamedTuple):
    """The gradients of a layer's momentum, of its inputs x and inner gradients delta, and of its coefficients."""

    momentum: Tensor
    x: Tensor
    delta: Tensor
    coefficients: Coefficients


def _layer_backward(
    state: State, coefficients: Sequence[Coefficients], surprise: Surprise, dstate: MemoryState, layer: int, g: Tensor,
    du: Tensor,
) -> tuple[Tensor, _LayerGradients]:  # fmt: skip
    """Go back through `_read_layer` and `_write_layer`: by the queries, and by all others but the weights.

    A write x_i, delta_i is in the outputs u_t of the tokens after it, and in the weights W' and momentum S' at the
    end. With du, dw and ds the gradients by these, and the mask m and the coefficients a and b into W' and S':

        d x_i = -sum_t m[t, i] (du_t . delta_i) g_t - a_i dw^T delta_i - b_i ds^T delta_i
        d delta_i = -sum_t m[t, i] (g_t . x_i) du_t - a_i dw x_i - b_i ds x_i
        d m[t, i] = -(du_t . delta_i) (g_t . x_i)        d a_i = -delta_i . dw x_i        d b_i = -delta_i . ds x_i
    """
    w, s, c = state.weights[layer], state.momentum[layer], coefficients[layer]
    x, delta = surprise.x[layer], surprise.delta[layer]
    dw, ds = dstate.weights[layer], dstate.momentum[layer]
    assert isinstance(c.mask, Tensor)
    dscores, scores = -torch.bmm(du, delta.mT), torch.bmm(g, x.mT)
    masked, dmasked = scores * c.mask, dscores * c.mask
    read_w, read_s = torch.bmm(du, w), torch.bmm(du, s)
    write_w, write_s = torch.bmm(delta, dw), torch.bmm(delta, ds)
    dg = c.start * read_w + c.drift * read_s + torch.bmm(dmasked, x)
    last_token = (0, 0, x.shape[1] - 1, 0)
    part = _LayerGradients(
        momentum=torch.bmm((c.drift * du).mT, g) + (c.drift[:, -1:] * dw + c.decay * ds),
        x=torch.bmm(dmasked.mT, g) + (-c.into_weights * write_w - c.into_momentum * write_s),
        delta=-torch.bmm(masked.mT, du)
        + (-torch.bmm(c.into_weights * x, dw.mT) - torch.bmm(c.into_momentum * x, ds.mT)),
        coefficients=Coefficients(
            mask=dscores * scores,
            start=_row_sums(read_w * g) + F.pad(_total(w * dw), last_token),
            drift=_row_sums(read_s * g) + F.pad(_total(s * dw), last_token),
            into_weights=-_row_sums(write_w * x),
            into_momentum=-_row_sums(write_s * x),
            decay=_total(s * ds),
        ),
    )
    return dg, part


def _product(factors: Factors) -> Tensor:
    """Return the sum of all left^T right in one product: each product goes through as much memory as the weights."""
    left, right = (torch.cat(side, 1) for side in zip(*factors, strict=True))
    return torch.bmm(left.mT, right)


def _row_sums(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)


def _total(x: Tensor) -> Tensor:
    """Return the sum of each matrix, `[N, 1, 1]`."""
    return x.sum((-2, -1), keepdim=True)
