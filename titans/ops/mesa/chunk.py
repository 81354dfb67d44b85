"""The mesa layer by chunks: conjugate gradients for all tokens at once, whose products are linear attention.

(H_t + diag(ridge)) x is what x reads of the keys' own linear attention, plus ridge x. So an iteration costs about as
much as linear attention, and no token's H_t is formed. As the system is symmetric, its gradient is the solution of the
same system for another right-hand side: nothing of the iterations is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, between, from_chunks, into_chunks, since_start, states_between, until_end
from titans.ops.fla import KernelName, fla_mesa, uses_fla

ITERATIONS = 30  # the published number of iterations of conjugate gradients


def mesa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    ridge: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    iterations: int = ITERATIONS,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run y_t = G_t^T (H_t + diag(ridge))^-1 q_t with H_t = a H_{t-1} + b k k^T and G_t = a G_{t-1} + b k v^T.

    A sequence can be cut anywhere: its parts, with the state passed on, give the outputs of the whole. The error of the
    solution falls with each iteration; there is none after d_k iterations, but for rounding.

    Args:
        q, k: `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        beta: b, at least 0, `[batch, heads, time]`.
        ridge: Above 0, `[heads, d_k]`.
        log_decay: log a, at most 0, `[batch, heads, time]`.
        state: H, which is symmetric, and G, concatenated to `[batch, heads, d_k, d_k + d_v]`. None: zeros.
        iterations: Iterations of conjugate gradients.
        chunk_size: Tokens that are computed together. It changes only the speed.
        kernel: "torch", "fla" (see `titans.ops.fla`), or "auto", which is torch.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    _check(q, k, v, beta, ridge, log_decay, state, iterations, chunk_size)
    d_k, time = k.shape[-1], v.shape[2]
    if state is None:
        state = v.new_zeros(*v.shape[:2], d_k, d_k + v.shape[-1])
    lack = None if v.shape[-1] == d_k else "its kernel of flash-linear-attention needs values as wide as keys"
    if uses_fla(kernel, v, d_k, lack):
        return fla_mesa(q, k, v, beta, ridge, log_decay, state, iterations)
    b, size = beta.unsqueeze(-1), min(chunk_size, time)
    q, k, keys, values, g = (into_chunks(x, size) for x in (q, k, b * k, b * v, log_decay.unsqueeze(-1)))
    left, mask = since_start(g), between(g.squeeze(-1))
    writes = (k * until_end(g)).mT @ torch.cat((keys, values), -1)
    starts, end = states_between(writes, left[..., -1:, :], state)
    of_keys, of_values = starts[..., :d_k], starts[..., d_k:]
    x = _Solution.apply(iterations, q, k, keys, mask, left, of_keys, ridge[:, None, None])  # type: ignore[no-untyped-call]
    return from_chunks((x @ k.mT * mask) @ values + (x * left) @ of_values, time), end


class _Solution(torch.autograd.Function):
    """x of (H_t + diag(ridge)) x = q for each token, with the gradient of the exact solution."""

    @staticmethod
    def forward(ctx: Any, iterations: int, q: Tensor, *system: Tensor) -> Tensor:
        """Return x `[batch, heads, chunks, size, d_k]`. The system is what `_product` takes after x."""
        x = conjugate_gradients(lambda p: _product(p, *system), q, iterations)
        ctx.iterations = iterations
        ctx.save_for_backward(x, *system)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dx: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, given dx `[batch, heads, chunks, size, d_k]`: dq solves the system for dx."""
        x, *system = ctx.saved_tensors
        dq = conjugate_gradients(lambda p: _product(p, *system), dx, ctx.iterations)
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for part in system]
            gradients = torch.autograd.grad(_product(x, *leaves), leaves, -dq)
        return None, dq, *gradients


def _product(x: Tensor, k: Tensor, keys: Tensor, mask: Tensor, left: Tensor, starts: Tensor, ridge: Tensor) -> Tensor:
    """Return (H_t + diag(ridge)) x for each token of a chunk, x `[batch, heads, chunks, size, d_k]`.

    Args:
        x: One vector for each token.
        k, keys: The keys, and the keys times beta, in the shape of x.
        mask: The decay between two tokens, `[..., size, size]`.
        left: The decay since the chunk's start, `[..., size, 1]`.
        starts: H before the chunk, `[..., d_k, d_k]`.
        ridge: `[heads, 1, 1, d_k]`.
    """
    return (x @ k.mT * mask) @ keys + (x * left) @ starts.mT + ridge * x


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Return x with A x = b for each vector of b `[..., dim]`, given x -> A x, A symmetric and positive definite."""
    smallest = torch.finfo(b.dtype).tiny  # a system that is solved stays so, instead of 0 / 0
    x, residual, direction = torch.zeros_like(b), b, b
    length = _dot(b, b)
    for _ in range(iterations):
        image = product(direction)
        step = length / (_dot(direction, image) + smallest)
        x, residual = x + step * direction, residual - step * image
        before, length = length, _dot(residual, residual)
        direction = residual + length / (before + smallest) * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    ridge: Tensor,
    log_decay: Tensor,
    state: Tensor | None,
    iterations: int,
    chunk_size: int,
) -> None:
    """Raise a `ValueError` unless all fit v `[batch, heads, time, d_v]`."""
    check_streams(q, k, v, None)
    check_log_decay(log_decay, v)
    d_k = k.shape[-1]
    expect("beta", beta, v, *v.shape[:3])
    expect("ridge", ridge, v, v.shape[1], d_k)
    if state is not None:
        expect("state", state, v, *v.shape[:2], d_k, d_k + v.shape[-1])
    for name, count in (("iterations", iterations), ("chunk_size", chunk_size)):
        if count < 1:
            raise ValueError(f"{name}: {count} is below 1")
