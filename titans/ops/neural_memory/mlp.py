"""The memory as a function of its weights: an MLP per sequence and head, and its inner gradient by hand.

Shape suffixes: time T, width of a layer's input I, of its output O; leading batch and heads are left out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of the memory's LayerNorm
LOSS_SCALE = {"sum": lambda dim: 2.0, "mean": lambda dim: 2.0 / dim, "half": lambda dim: 1.0}


def activate(z: Tensor, activation: str) -> Tensor:
    """The non-linearity between two layers of the memory; "gelu" is the exact one."""
    return {"gelu": F.gelu, "silu": F.silu, "relu": F.relu}[activation](z)


def slope(z: Tensor, activation: str) -> Tensor:
    """Derivative of `activate` at z, itself differentiable."""
    if activation == "gelu":
        cdf = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
        return cdf + z * torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    if activation == "silu":
        s = torch.sigmoid(z)
        return s + z * s * (1 - s)
    return (z > 0).to(z.dtype)


def read_memory(weights: tuple[Tensor, ...], x: Tensor, activation: str = "gelu", residual: bool = False) -> Tensor:
    """M(x): retrieval without an update.

    Args:
        weights: One `[batch, heads, d_out, d_in]` a layer.
        x: `[batch, heads, time, dim]`.
        activation: Between the layers.
        residual: x + LayerNorm(mlp(x)), as in N25, instead of mlp(x).

    Returns:
        `[batch, heads, time, dim]`.
    """
    h = x
    for layer, w_OI in enumerate(weights):
        h = (activate(h, activation) if layer else h) @ w_OI.mT
    return finish(x, h, residual)


def finish(x: Tensor, z: Tensor, residual: bool) -> Tensor:
    """The memory's output from its input x and its last layer's output z."""
    return x + F.layer_norm(z, z.shape[-1:], eps=EPS) if residual else z


def inner_gradient(
    weights: tuple[Tensor, ...], k: Tensor, v: Tensor, activation: str, residual: bool, loss: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs x and output gradients delta of every layer, so that token i's gradient of the loss is delta_i x_i^T.

    Paper: eq. 12 and section 3.2. No weight-sized tensor is formed per token.

    Returns:
        xs, deltas: a layer each, `[batch, heads, time, d_in]` and `[batch, heads, time, d_out]`.
    """
    xs, zs = [k], []
    for w_OI in weights:
        if zs:
            xs.append(activate(zs[-1], activation))
        zs.append(xs[-1] @ w_OI.mT)
    error = (finish(k, zs[-1], residual) - v) * LOSS_SCALE[loss](v.shape[-1])
    deltas = [_through_layer_norm(zs[-1], error) if residual else error]
    for w_OI, z in zip(reversed(weights[1:]), reversed(zs[:-1]), strict=True):
        deltas.append((deltas[-1] @ w_OI) * slope(z, activation))
    return xs, deltas[::-1]


def _through_layer_norm(z: Tensor, grad: Tensor) -> Tensor:
    """Gradient at z of a function whose gradient at LayerNorm(z) is `grad`."""
    centred = z - z.mean(-1, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPS)
    normed = centred * scale
    return scale * (grad - grad.mean(-1, keepdim=True) - normed * (grad * normed).mean(-1, keepdim=True))
