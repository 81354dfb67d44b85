"""One chunk of the memory, forward and backward by hand: matrix products over all heads, and nothing taped.

The backward pass of a chunk differentiates through the write, so the inner gradient's own derivative is in it. What it
needs of the forward pass are the products alone (`Kept`); what follows from them element by element is computed again.

Shape suffixes: N batch and heads together, C tokens of the chunk, D width of a head, O and I of a layer. Queries g and
their pre-activations u pass the memory beside keys x and theirs, z; delta is the inner gradient at z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.mlp import EPS, activate, slope

Layers = Sequence[Tensor]


class Form(NamedTuple):
    """What kind of memory it is; `loss_slope` is the derivative of the inner loss by the error, over the error."""

    activation: str
    residual: bool
    loss_slope: float
    outer_gradient: bool


class Decay(NamedTuple):
    """What is left of a layer's past over the chunk; see `Coefficients`.

    Attributes:
        mask: Of write i after token t, `[N, C, C]`.
        start, drift: Of the chunk's first weights and momentum after token t, `[N, C, 1]`.
        into_weights, into_momentum: Of write i at the chunk's end, `[N, C, 1]`.
        decay: Of the momentum at the chunk's end, `[N, 1, 1]`.
    """

    mask: Tensor
    start: Tensor
    drift: Tensor
    into_weights: Tensor
    into_momentum: Tensor
    decay: Tensor


class Kept(NamedTuple):
    """Products of the forward pass, layer by layer, `[N, C, O]`; `pulled` begins with the second layer."""

    z: tuple[Tensor, ...]
    pulled: tuple[Tensor, ...]
    u: tuple[Tensor, ...]


class KeySide(NamedTuple):
    """Inputs of each layer on the side of the keys, the inner gradients behind it, and the error."""

    x: list[Tensor]
    delta: list[Tensor]
    error: Tensor


class Gradients(NamedTuple):
    """Of a chunk: by its tokens, by the decay of each layer, and by the state that it started with."""

    q: Tensor
    k: Tensor | None
    v: Tensor | None
    decays: list[Decay]
    weights: list[Tensor]
    momentum: list[Tensor]


def forward_step(
    form: Form, weights: Layers, momentum: Layers, decays: Sequence[Decay], q: Tensor, k: Tensor, v: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor], Kept]:
    """Write a chunk and read it: what was read `[N, C, D]`, the weights and momentum after it, and what to keep."""
    z: list[Tensor] = []
    for layer, w_NOI in enumerate(weights):
        x = activate(z[-1], form.activation) if layer else k
        z.append(torch.bmm(x, w_NOI.mT))
    pulled = _pull(form, weights, z, k, v)
    keys = _key_side(form, z, pulled, k, v)
    u = _pass(form, weights, momentum, decays, keys, q)
    y = q + _normalised(u[-1])[0] if form.residual else u[-1]
    after = [_write(*of_layer) for of_layer in zip(weights, momentum, decays, keys.x, keys.delta, strict=True)]
    return y, [w for w, _ in after], [s for _, s in after], Kept(tuple(z), tuple(pulled), tuple(u))


def backward_step(
    form: Form, weights: Layers, momentum: Layers, decays: Sequence[Decay], q: Tensor, k: Tensor, v: Tensor,
    kept: Kept, dy: Tensor, dweights: Layers, dmomentum: Layers,
) -> Gradients:  # fmt: skip
    """Gradients of a chunk, from those by what was read and by the state after it."""
    keys = _key_side(form, kept.z, kept.pulled, k, v)
    du = _through_norm(_normalised(kept.u[-1]), dy) if form.residual else dy
    parts: list[LayerBack] = []
    for layer in reversed(range(len(weights))):
        g = activate(kept.u[layer - 1], form.activation) if layer else q
        state = weights[layer], momentum[layer], decays[layer]
        key = keys.x[layer], keys.delta[layer]
        dg, read = _read_back(*state, *key, g, du)
        parts.insert(0, _both(read, _write_back(*state, *key, dweights[layer], dmomentum[layer])))
        du = dg * slope(kept.u[layer - 1], form.activation) if layer else dg
    dw, ds, dx, ddelta, ddecays = (list(each) for each in zip(*parts, strict=True))
    dq = du + dy if form.residual else du
    if not form.outer_gradient:
        return Gradients(dq, None, None, ddecays, dw, ds)
    dk, dv, through = _inner_back(form, weights, kept, keys, dx, ddelta)
    return Gradients(dq, dk, dv, ddecays, [x + y for x, y in zip(dw, through, strict=True)], ds)


class LayerBack(NamedTuple):
    """Gradients by a layer's state, by its keys' inputs and inner gradients, and by its decay."""

    weights: Tensor
    momentum: Tensor
    x: Tensor
    delta: Tensor
    decay: Decay


def _both(read: LayerBack, write: LayerBack) -> LayerBack:
    decay = Decay(*(a + b for a, b in zip(read.decay, write.decay, strict=True)))
    weights, momentum = read.weights + write.weights, read.momentum + write.momentum
    return LayerBack(weights, momentum, read.x + write.x, read.delta + write.delta, decay)


def _pull(form: Form, weights: Layers, z: Layers, k: Tensor, v: Tensor) -> list[Tensor]:
    """The inner gradient behind each layer from the second on, before the activation's derivative."""
    pulled: list[Tensor] = []
    delta = _top(form, z[-1], k, v)[0]
    for layer in reversed(range(1, len(weights))):
        pulled.insert(0, torch.bmm(delta, weights[layer]))
        delta = pulled[0] * slope(z[layer - 1], form.activation)
    return pulled


def _top(form: Form, z: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The inner gradient at the last layer's output, and the derivative of the loss by the memory's output."""
    if not form.residual:
        error = form.loss_slope * (z - v)
        return error, error
    norm = _normalised(z)
    error = form.loss_slope * (k + norm[0] - v)
    return _through_norm(norm, error), error


def _key_side(form: Form, z: Layers, pulled: Layers, k: Tensor, v: Tensor) -> KeySide:
    """From the products, all that the keys' side is."""
    top, error = _top(form, z[-1], k, v)
    x = [k, *(activate(each, form.activation) for each in z[:-1])]
    delta = [p * slope(each, form.activation) for p, each in zip(pulled, z[:-1], strict=True)]
    return KeySide(x, [*delta, top], error)


def _pass(
    form: Form, weights: Layers, momentum: Layers, decays: Sequence[Decay], keys: KeySide, q: Tensor
) -> list[Tensor]:
    """Pass the queries through layers that every token has moved on."""
    u: list[Tensor] = []
    for layer, decay in enumerate(decays):
        g = activate(u[-1], form.activation) if layer else q
        scores = torch.bmm(g, keys.x[layer].mT) * decay.mask
        anchored = torch.bmm(g, weights[layer].mT) * decay.start + torch.bmm(g, momentum[layer].mT) * decay.drift
        u.append(anchored - torch.bmm(scores, keys.delta[layer]))
    return u


def _write(w: Tensor, s: Tensor, decay: Decay, x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's weights and momentum after the chunk."""
    delta = delta.mT
    after = decay.start[:, -1:] * w + decay.drift[:, -1:] * s - torch.bmm(delta, decay.into_weights * x)
    return after, decay.decay * s - torch.bmm(delta, decay.into_momentum * x)


def _read_back(
    w: Tensor, s: Tensor, decay: Decay, x: Tensor, delta: Tensor, g: Tensor, du: Tensor
) -> tuple[Tensor, LayerBack]:
    """Back through a layer's read: the gradient by its queries, and all others."""
    dscores, products = -torch.bmm(du, delta.mT), torch.bmm(g, x.mT)
    masked, scores = dscores * decay.mask, products * decay.mask
    by_w, by_s = torch.bmm(du, w), torch.bmm(du, s)
    dg = decay.start * by_w + decay.drift * by_s + torch.bmm(masked, x)
    nothing = torch.zeros_like(decay.decay)
    return dg, LayerBack(
        torch.bmm((decay.start * du).mT, g),
        torch.bmm((decay.drift * du).mT, g),
        torch.bmm(masked.mT, g),
        -torch.bmm(scores.mT, du),
        Decay(dscores * products, _sum(by_w * g), _sum(by_s * g), nothing, nothing, nothing),
    )


def _write_back(w: Tensor, s: Tensor, decay: Decay, x: Tensor, delta: Tensor, dw: Tensor, ds: Tensor) -> LayerBack:
    """Back through a layer's write, from the gradients by its weights and momentum after the chunk."""
    by_w, by_s = torch.bmm(delta, dw), torch.bmm(delta, ds)
    into_w, into_s = decay.into_weights * x, decay.into_momentum * x
    last = (0, 0, x.shape[1] - 1, 0)
    return LayerBack(
        decay.start[:, -1:] * dw,
        decay.drift[:, -1:] * dw + decay.decay * ds,
        -decay.into_weights * by_w - decay.into_momentum * by_s,
        -torch.bmm(into_w, dw.mT) - torch.bmm(into_s, ds.mT),
        Decay(
            torch.zeros_like(decay.mask),
            F.pad(_dot(w, dw), last),
            F.pad(_dot(s, dw), last),
            -_sum(by_w * x),
            -_sum(by_s * x),
            _dot(s, ds),
        ),
    )


def _inner_back(
    form: Form, weights: Layers, kept: Kept, keys: KeySide, dx: list[Tensor], ddelta: list[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Back through the inner gradients: by keys, values and weights. Up the layers that they came down, then down."""
    dw, dz = [torch.zeros_like(w) for w in weights], []
    for layer in range(len(weights) - 1):
        z, by_delta = kept.z[layer], ddelta[layer]
        dpulled = by_delta * slope(z, form.activation)
        dz.append(by_delta * kept.pulled[layer] * curvature(z, form.activation))
        ddelta[layer + 1] = ddelta[layer + 1] + torch.bmm(dpulled, weights[layer + 1].mT)
        dw[layer + 1] = torch.bmm(keys.delta[layer + 1].mT, dpulled)
    dtop, derror = _top_back(form, kept.z[-1], keys, ddelta[-1])
    dz.append(dtop)
    for layer in reversed(range(len(weights))):
        dw[layer] = dw[layer] + torch.bmm(dz[layer].mT, keys.x[layer])
        by_x = dx[layer] + torch.bmm(dz[layer], weights[layer])
        if layer:
            dz[layer - 1] = dz[layer - 1] + by_x * slope(kept.z[layer - 1], form.activation)
    return by_x + derror if form.residual else by_x, -derror, dw


def _top_back(form: Form, z: Tensor, keys: KeySide, ddelta: Tensor) -> tuple[Tensor, Tensor]:
    """Back through `_top`: by the last layer's output, and by the target with its sign changed."""
    if not form.residual:
        derror = form.loss_slope * ddelta
        return derror, derror
    normed, scale = norm = _normalised(z)
    derror = form.loss_slope * _through_norm(norm, ddelta)
    delta = keys.delta[-1]
    means = [_mean(a * b) for a, b in ((ddelta, delta), (ddelta, normed), (keys.error, normed))]
    curved = normed * means[0] + means[1] * delta + means[2] * _through_norm(norm, ddelta)
    return _through_norm(norm, derror) - scale * curved, derror


def _normalised(z: Tensor) -> tuple[Tensor, Tensor]:
    """LayerNorm(z), and what it scaled the centred z by."""
    centred = z - _mean(z)
    scale = torch.rsqrt(_mean(centred.square()) + EPS)
    return centred * scale, scale


def _through_norm(norm: tuple[Tensor, Tensor], gradient: Tensor) -> Tensor:
    """The gradient by z of a function whose gradient by LayerNorm(z) is given; the map is symmetric."""
    normed, scale = norm
    return scale * (gradient - _mean(gradient) - normed * _mean(gradient * normed))


def curvature(z: Tensor, activation: str) -> Tensor:
    """Second derivative of `activate` at z."""
    if activation == "gelu":
        return torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi)) * (2 - z * z)
    if activation == "silu":
        s = torch.sigmoid(z)
        return s * (1 - s) * (2 + z * (1 - 2 * s))
    return torch.zeros_like(z)


def _mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True)


def _sum(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """`[N, 1, 1]`."""
    return (x * y).sum((-2, -1), keepdim=True)
