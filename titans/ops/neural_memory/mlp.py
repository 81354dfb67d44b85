"""The memory as a function of its weights: an MLP per sequence and head, and its inner gradient by hand.

Shape suffixes: width of a layer's input I, of its output O; leading batch, heads and time are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of the memory's LayerNorm


class Write(NamedTuple):
    """Tokens' gradients of the inner loss by a layer: delta_i x_i^T by a matrix, delta_i by a gain, which has no x."""

    x: Tensor | None
    delta: Tensor


def activate(z: Tensor, activation: str) -> Tensor:
    """The non-linearity between two layers of the memory; "gelu" is the exact one."""
    if activation == "gelu":
        return F.gelu(z)
    return F.silu(z) if activation == "silu" else F.relu(z)


def slope(z: Tensor, activation: str) -> Tensor:
    """Derivative of `activate` at z, itself differentiable."""
    if activation == "gelu":
        cdf = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
        return cdf + z * torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    if activation == "silu":
        s = torch.sigmoid(z)
        return s + z * s * (1 - s)
    return (z > 0).to(z.dtype)


def read_memory(
    weights: tuple[Tensor, ...], x: Tensor, activation: str = "gelu", residual: bool = False, gain: bool = False
) -> Tensor:
    """M(x): retrieval without an update.

    Args:
        weights: One `[batch, heads, d_out, d_in]` a layer; with `gain`, then `[batch, heads, dim]`.
        x: `[batch, heads, time, dim]`.
        activation: Between the layers.
        residual: x + LayerNorm(mlp(x)), as in N25, instead of mlp(x).
        gain: The last of the weights is the LayerNorm's gain less 1.

    Returns:
        `[batch, heads, time, dim]`.
    """
    matrices, scale = split_gain(weights, gain)
    h = x
    for layer, w_OI in enumerate(matrices):
        h = (activate(h, activation) if layer else h) @ w_OI.mT
    return finish(x, h, residual, None if scale is None else scale.unsqueeze(-2))


def loss_slope(loss: str, dim: int) -> float:
    """Derivative of the inner loss by the error, over the error."""
    return {"sum": 2.0, "mean": 2.0 / dim, "half": 1.0}[loss]


def split_gain(weights: tuple[Tensor, ...], gain: bool) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """The matrices, and the gain if there is one."""
    return (weights[:-1], weights[-1]) if gain else (weights, None)


def finish(x: Tensor, z: Tensor, residual: bool, gain: Tensor | None = None) -> Tensor:
    """The memory's output from its input x, its last layer's output z and, if any, the LayerNorm's gain less 1."""
    if not residual:
        return z
    normed = F.layer_norm(z, z.shape[-1:], eps=EPS)
    return x + (normed if gain is None else normed * (1 + gain))


def inner_gradient(
    weights: tuple[Tensor, ...], k: Tensor, v: Tensor, activation: str, residual: bool, loss: str, gain: bool = False
) -> list[Write]:
    """Every token's gradient of the inner loss at these weights, layer by layer.

    Paper: eq. 12 and section 3.2. No weight-sized tensor is formed per token.
    """
    matrices, scale = split_gain(weights, gain)
    xs, zs = [k], list[Tensor]()
    for w_OI in matrices:
        if zs:
            xs.append(activate(zs[-1], activation))
        zs.append(xs[-1] @ w_OI.mT)
    scale = None if scale is None else scale.unsqueeze(-2)
    error = (finish(k, zs[-1], residual, scale) - v) * loss_slope(loss, v.shape[-1])
    delta = error if scale is None else error * (1 + scale)
    deltas = [_through_layer_norm(zs[-1], delta) if residual else delta]
    for w_OI, z in zip(reversed(matrices[1:]), reversed(zs[:-1]), strict=True):
        deltas.append((deltas[-1] @ w_OI) * slope(z, activation))
    writes = [Write(x, delta) for x, delta in zip(xs, reversed(deltas), strict=True)]
    if gain:
        writes.append(Write(None, error * F.layer_norm(zs[-1], k.shape[-1:], eps=EPS)))
    return writes


def _through_layer_norm(z: Tensor, grad: Tensor) -> Tensor:
    """Gradient at z of a function whose gradient at LayerNorm(z) is `grad`."""
    centred = z - z.mean(-1, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPS)
    normed = centred * scale
    return scale * (grad - grad.mean(-1, keepdim=True) - normed * (grad * normed).mean(-1, keepdim=True))
