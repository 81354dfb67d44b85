"""The memory as a function of its weights: an MLP for each sequence and head, its inner gradient, and the backward.

Shape suffixes: N is batch and heads together, C the tokens of a chunk, D the width of a head, I and O the inputs and
outputs of a layer. A gain of the memory's LayerNorm, `[N, D]`, comes after the matrices and is written as one row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.objective import objective_curvature, objective_gradient
from titans.ops.neural_memory.state import Switches

EPS = 1e-5  # of the memory's LayerNorm

#: Gradients with respect to a layer's weights as pairs `[N, C, O]` and `[N, C, I]`: the gradient is the sum of left^T
#: right.
Factors = list[tuple[Tensor, Tensor]]


class Surprise(NamedTuple):
    """The inner gradients of a chunk's tokens, layer by layer, and what they were computed from.

    The gradient of a token by a layer's weights is delta^T x.

    Attributes:
        x: The inputs of each layer, `[N, C, I]`; of a gain the LayerNorm's output times the error, `[N, C, D]`.
        z: The outputs of each matrix, `[N, C, O]`.
        slopes: The derivative of the activation at z, for each matrix but the last.
        pulled: The gradient at the inputs of each matrix but the first, `[N, C, I]`.
        delta: The gradient at the outputs of each layer, `[N, C, O]`; of a gain ones, `[N, C, 1]`.
        answer: What the memory says, M(k), `[N, C, D]`.
        error: The derivative of the inner loss with respect to the answer, `[N, C, D]`.
    """

    x: list[Tensor]
    z: Sequence[Tensor]
    slopes: list[Tensor]
    pulled: Sequence[Tensor]
    delta: list[Tensor]
    answer: Tensor
    error: Tensor


def read_memory(
    weights: tuple[Tensor, ...], x: Tensor, activation: str = "gelu", residual: bool = False, gain: bool = False
) -> Tensor:
    """Return M(x): what the memory holds for x, without an update.

    Args:
        weights: A matrix `[..., d_out, d_in]` for each layer; with `gain`, then the gain `[..., dim]`.
        x: `[..., time, dim]`.
        activation: The non-linearity between the layers: "gelu" (exact), "silu" or "relu".
        residual: Whether M(x) is x + LayerNorm(mlp(x)), as in the NeurIPS 2025 camera-ready, instead of mlp(x).
        gain: Whether the last of the weights is the LayerNorm's gain less 1.

    Returns:
        `[..., time, dim]`.
    """
    first, *others = weights[:-1] if gain else weights
    h = x @ first.mT
    for matrix in others:
        h = activate(h, activation) @ matrix.mT
    if not residual:
        return h
    normed = F.layer_norm(h, h.shape[-1:], eps=EPS)
    return x + (normed * (1 + weights[-1].unsqueeze(-2)) if gain else normed)


def inner_gradient(
    weights: Sequence[Tensor], k: Tensor, v: Tensor, switches: Switches,
    z: Sequence[Tensor] = (), pulled: Sequence[Tensor] = (), threshold: Tensor | None = None,
) -> Surprise:  # fmt: skip
    """Return every token's gradient of the inner loss at these weights (arXiv 2501.00663, eq. 12 and section 3.2).

    No tensor of the size of the weights is formed per token.

    Args:
        weights: `[N, O, I]` for each layer; with a gain, then `[N, D]`.
        k, v: `[N, C, D]`.
        switches: The form of the memory and its loss.
        z, pulled: Those of an earlier call with the same arguments. Then no matrix product is computed.
        threshold: The thresholds of the objective huber, `[N, C, 1]`; None for the others.
    """
    matrices = weights[:-1] if switches.gain else weights
    x: list[Tensor] = [k]
    outputs: list[Tensor] = []
    slopes: list[Tensor] = []
    for layer, w_NOI in enumerate(matrices):
        if layer:
            x.append(activate(outputs[-1], switches.activation))
            slopes.append(slope(outputs[-1], switches.activation))
        outputs.append(z[layer] if z else torch.bmm(x[-1], w_NOI.mT))
    norm = normalise(outputs[-1]) if switches.residual else None
    gain = 1 + weights[-1].unsqueeze(1) if switches.gain else None
    answer = outputs[-1] if norm is None else k + (norm[0] if gain is None else norm[0] * gain)
    error = objective_gradient(answer, v, switches, threshold)
    delta = [error if norm is None else normalise_backward(norm, error if gain is None else error * gain)]
    back: list[Tensor] = []
    for layer in reversed(range(1, len(matrices))):
        back.insert(0, pulled[layer - 1] if pulled else torch.bmm(delta[0], matrices[layer]))
        delta.insert(0, back[0] * slopes[layer - 1])
    if switches.gain:
        assert norm is not None
        x.append(error * norm[0])
        delta.append(torch.ones_like(error[..., :1]))
    return Surprise(x, outputs, slopes, back, delta, answer, error)


def inner_gradient_backward(
    weights: Sequence[Tensor], v: Tensor, surprise: Surprise, dx: Sequence[Tensor], ddelta: Sequence[Tensor],
    switches: Switches,
) -> tuple[Tensor, Tensor, list[Factors]]:  # fmt: skip
    """Return the gradients with respect to k and v `[N, C, D]` and the factors of those by the weights.

    Without a gain, and without the objective huber.

    The way back leads up the layers that the inner gradients came down, and then down.

    Args:
        weights: `[N, O, I]` for each layer.
        v: `[N, C, D]`.
        surprise: The result of `inner_gradient`.
        dx, ddelta: The gradients with respect to the surprise's x `[N, C, I]` and delta `[N, C, O]`, for each layer.
        switches: The form of the memory and its loss.
    """
    factors: list[Factors] = [[] for _ in weights]
    dz: list[Tensor] = []
    up = ddelta[0]
    for layer, (slopes, pulled) in enumerate(zip(surprise.slopes, surprise.pulled, strict=True)):
        dpulled = up * slopes
        dz.append(up * pulled * curvature(surprise.z[layer], switches.activation))
        factors[layer + 1].append((surprise.delta[layer + 1], dpulled))
        up = ddelta[layer + 1] + torch.bmm(dpulled, weights[layer + 1].mT)
    dtop, danswer, dtarget = _top_gradient_backward(surprise, v, up, switches)
    dz.append(dtop)
    for layer in reversed(range(len(weights))):
        factors[layer].append((dz[layer], surprise.x[layer]))
        down = dx[layer] + torch.bmm(dz[layer], weights[layer])
        if layer:
            dz[layer - 1] = dz[layer - 1] + down * surprise.slopes[layer - 1]
    return (down if danswer is None or not switches.residual else down + danswer), dtarget, factors


def _top_gradient_backward(
    surprise: Surprise, v: Tensor, ddelta: Tensor, switches: Switches
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the gradients of the last matrix's output, of the answer and of v, from that of the output's gradient."""
    if not switches.residual:
        danswer, dv = objective_curvature(surprise.answer, v, switches, ddelta)
        return torch.zeros_like(ddelta) if danswer is None else danswer, danswer, dv
    normed, scale = norm = normalise(surprise.z[-1])
    through, delta = normalise_backward(norm, ddelta), surprise.delta[-1]
    danswer, dv = objective_curvature(surprise.answer, v, switches, through)
    means = [_mean(a * b) for a, b in ((ddelta, delta), (ddelta, normed), (surprise.error, normed))]
    curved = normed * means[0] + means[1] * delta + means[2] * through
    dz = -scale * curved if danswer is None else normalise_backward(norm, danswer) - scale * curved
    return dz, danswer, dv


def normalise(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return LayerNorm(z), without gain and bias, `[..., dim]`, and the factor of the centred z, `[..., 1]`."""
    centred = z - _mean(z)
    scale = torch.rsqrt(_mean(centred.square()) + EPS)
    return centred * scale, scale


def normalise_backward(norm: tuple[Tensor, Tensor], gradient: Tensor) -> Tensor:
    """Return the gradient of z, given that of LayerNorm(z), both `[..., dim]`; `norm` is `normalise(z)`."""
    normed, scale = norm
    return scale * (gradient - _mean(gradient) - normed * _mean(gradient * normed))


def activate(z: Tensor, activation: str) -> Tensor:
    """Return the non-linearity between two layers of the memory at z `[...]`; "gelu" is the exact one."""
    if activation == "gelu":
        return F.gelu(z)
    return F.silu(z) if activation == "silu" else F.relu(z)


def slope(z: Tensor, activation: str) -> Tensor:
    """Return the derivative of `activate` at z `[...]`, itself differentiable."""
    if activation == "gelu":
        cdf = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
        return cdf + z * torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    if activation == "silu":
        s = torch.sigmoid(z)
        return s + z * s * (1 - s)
    return (z > 0).to(z.dtype)


def curvature(z: Tensor, activation: str) -> Tensor:
    """Return the second derivative of `activate` at z `[...]`."""
    if activation == "gelu":
        return torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi)) * (2 - z * z)
    if activation == "silu":
        s = torch.sigmoid(z)
        return s * (1 - s) * (2 + z * (1 - 2 * s))
    return torch.zeros_like(z)


def _mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True)
