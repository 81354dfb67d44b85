"""Random arguments of the memory operator, and the comparison of two of its forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from titans.ops import MemoryState

Operator = Callable[..., tuple[Tensor, MemoryState]]


def memory_arguments(
    time: int,
    depth: int,
    *,
    batch: int = 2,
    heads: int = 2,
    dim: int = 6,
    expansion: int = 2,
    per_layer: bool = True,
    momentum: bool = True,
    forgetting: bool = True,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Any]:
    """Fresh random inputs, away from any special point; every tensor is a leaf that wants its gradient."""
    widths = [dim] + [dim * expansion] * (depth - 1) + [dim]
    gate_shape = (batch, heads, time, depth) if per_layer else (batch, heads, time)

    def leaf(x: Tensor) -> Tensor:
        return x.to(dtype).requires_grad_()

    def layers(scale: float) -> tuple[Tensor, ...]:
        shapes = zip(widths[1:], widths[:-1], strict=True)
        return tuple(leaf(scale * torch.randn(batch, heads, o, i) / i**0.5) for o, i in shapes)

    q, k, v = (leaf(torch.randn(batch, heads, time, dim) / dim**0.5) for _ in range(3))
    return {
        "q": q, "k": k, "v": v,
        "theta": leaf(0.05 * torch.rand(gate_shape)),
        "eta": leaf(torch.rand(gate_shape)) if momentum else None,
        "alpha": leaf(0.3 * torch.rand(gate_shape)) if forgetting else None,
        "state": MemoryState(layers(1.0), layers(0.1)),
    }  # fmt: skip


def leaves(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors among the arguments, by name."""
    named = {}
    for name, value in arguments.items():
        parts = {"weights": value.weights, "momentum": value.momentum} if name == "state" else {name: value}
        for part, x in parts.items():
            if isinstance(x, tuple):
                named |= {f"{part}[{i}]": each for i, each in enumerate(x)}
            elif x is not None:
                named[part] = x
    return named


def results(operator: Operator, arguments: dict[str, Any], **switches: Any) -> dict[str, Tensor]:
    """Output, end state, and the gradient of a fixed random projection of all of them by every leaf."""
    y, state = operator(**arguments, **switches)
    named = {"y": y}
    named |= {f"end weights[{i}]": w for i, w in enumerate(state.weights)}
    named |= {f"end momentum[{i}]": s for i, s in enumerate(state.momentum)}
    generator = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in named.values())
    by = leaves(arguments)
    gradients = torch.autograd.grad(total, list(by.values()), allow_unused=True)
    zeros = (torch.zeros_like(x) for x in by.values())
    found = (zero if g is None else g for g, zero in zip(gradients, zeros, strict=True))
    return named | {f"d/d {name}": g for name, g in zip(by, found, strict=True)}


def worst_error(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of each result over the larger of 1 and its largest value; both must have the same results."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    with torch.no_grad():
        return {name: float((a[name] - b[name]).abs().max() / b[name].abs().max().clamp(min=1)) for name in a}
