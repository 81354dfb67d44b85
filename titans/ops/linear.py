"""The product of tokens with a matrix, on a processor with oneDNN's kernels where torch's BLAS is MKL.

On a core of an EPYC with AVX-512, MKL reaches 114 GFLOP/s, as if vectors had half their width. oneDNN, which torch's
wheels contain too, reaches 260 (docs/LOG.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST = 2**20  # multiply-adds of a product for which oneDNN's longer start pays


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x weight^T + bias, `[..., outputs]`, as `torch.nn.functional.linear` does up to rounding; differentiable.

    Args:
        x: `[..., inputs]`.
        weight: `[outputs, inputs]`.
        bias: `[outputs]`, or None.
    """
    if not _has_kernel(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return _product(x, weight, bias)


class _Linear(torch.autograd.Function):
    """`linear` on oneDNN's kernel, with gradients by the same, which can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x weight^T + bias, `[..., outputs]`, of x `[..., inputs]` and weight `[outputs, inputs]`."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to x, weight and bias from dy `[..., outputs]`."""
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        rows = dy.flatten(0, -2)
        return (
            linear(dy, weight.mT) if by_x else None,
            linear(rows.mT, x.flatten(0, -2).mT) if by_weight else None,
            rows.sum(0) if by_bias else None,
        )


def _has_kernel(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN computes the product of x `[..., inputs]` and weight `[outputs, inputs]`, and faster."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * weight.shape[0] >= FEWEST
        and _is_faster()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@cache
def _is_faster() -> bool:
    """Return whether torch has MKL as its BLAS, and oneDNN's product, an operator that it does not document."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return has_both and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
