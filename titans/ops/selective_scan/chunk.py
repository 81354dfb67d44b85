"""The selective state space by chunks, which the backward pass recomputes.

The states of all tokens, `[batch, time, channels, state]`, are far larger than inputs and outputs. Here they exist for
one chunk at a time. Inside a chunk they come from doubling: after round r a token has taken in the 2^r tokens up to
itself. Decays are multiplied and never divided by, so nothing overflows however fast a channel forgets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans.ops.arguments import expect

CHUNK = 64


def selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None, *, chunk_size: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Run h_t = exp(delta_t a) h_{t-1} + delta_t x_t b_t and y_t = c_t . h_t for each channel.

    Paper: arXiv 2312.00752, eq. 2. A sequence can be cut anywhere: its parts, with the state passed on, give the
        outputs of the whole.

    Args:
        x: `[batch, time, channels]`.
        delta: The step sizes, at least 0, in the shape of x.
        a: The rates, below 0, `[channels, state]`.
        b, c: The directions that a token writes and reads along, `[batch, time, state]`.
        state: `[batch, channels, state]`. None: zeros.
        chunk_size: Tokens that are computed together. It changes only the speed.

    Returns:
        y in the shape of x, and the state after the last token.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    _check(x, delta, a, b, c, state, chunk_size)
    state = x.new_zeros(x.shape[0], *a.shape) if state is None else state
    y, end = SelectiveScan.apply(chunk_size, x, delta, a, b, c, state)  # type: ignore[no-untyped-call]
    return y, end


class SelectiveScan(torch.autograd.Function):
    """`selective_scan`, which keeps its arguments and the state before each chunk for the backward pass."""

    @staticmethod
    def forward(ctx: Any, size: int, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs `[batch, time, channels]` and the end state, from the chunk size and the tensors."""
        *streams, state = inputs
        ctx.size, starts, outputs = size, [], []
        for x, delta, a, b, c in _chunks(size, *streams):
            starts.append(state)
            h = _states(x, delta, a, b, state)
            outputs.append((h @ c.unsqueeze(-1)).squeeze(-1))
            state = h[:, -1].clone()
        ctx.save_for_backward(*streams, *starts)
        return torch.cat(outputs, 1), state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dstate: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the tensors, given dy `[batch, time, channels]` and that of the end state."""
        saved = ctx.saved_tensors
        streams, starts = saved[:5], saved[5:]
        chunks = zip(_chunks(ctx.size, *streams), starts, dy.split(ctx.size, 1), strict=True)
        da, parts = torch.zeros_like(streams[2]), []
        for chunk, start, of_outputs in reversed(list(chunks)):
            part, of_rates, dstate = _chunk_gradients(chunk, start, of_outputs, dstate)
            parts.append(part)
            da += of_rates
        dx, ddelta, db, dc = (torch.cat(pieces[::-1], 1) for pieces in zip(*parts, strict=True))
        return None, dx, ddelta, da, db, dc, dstate


Chunk = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # x, delta, a, b, c


def _chunks(size: int, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> list[Chunk]:
    pieces = zip(*(stream.split(size, 1) for stream in (x, delta, b, c)), strict=True)
    return [(x, delta, a, b, c) for x, delta, b, c in pieces]


def _states(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Return the state after each token of a chunk, `[batch, size, channels, state]`."""
    decay = torch.exp(delta.unsqueeze(-1) * a)
    h = (delta * x).unsqueeze(-1) * b.unsqueeze(2)
    h[:, 0] += decay[:, 0] * start
    return _scan(decay, h)


def _scan(factors: Tensor, values: Tensor) -> Tensor:
    """Return values_t + factors_t (values_{t-1} + factors_{t-1} (...)) along dim 1, by doubling; overwrite both."""
    step = 1
    while step < values.shape[1]:
        values[:, step:] += factors[:, step:] * values[:, :-step]
        factors[:, step:] = factors[:, step:] * factors[:, :-step]
        step *= 2
    return values


def _chunk_gradients(
    chunk: Chunk, start: Tensor, dy: Tensor, dend: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Return the gradients with respect to x, delta, b and c; by a; and by the state before the chunk."""
    x, delta, a, b, c = chunk
    h = _states(x, delta, a, b, start)
    dc = (dy.unsqueeze(2) @ h).squeeze(2)
    decay = torch.exp(delta.unsqueeze(-1) * a)
    dh = dy.unsqueeze(-1) * c.unsqueeze(2)
    dh[:, -1] += dend
    dh = _scan(torch.cat((decay[:, :1], decay[:, 1:].flip(1)), 1), dh.flip(1)).flip(1)
    dstart = decay[:, 0] * dh[:, 0]
    dwrite, db = (dh @ b.unsqueeze(-1)).squeeze(-1), ((delta * x).unsqueeze(2) @ dh).squeeze(2)
    dexponent = decay.mul_(dh)
    dexponent[:, 0] *= start
    dexponent[:, 1:] *= h[:, :-1]
    ddelta = dwrite * x + (dexponent * a).sum(-1)
    return (dwrite * delta, ddelta, db, dc), (dexponent * delta.unsqueeze(-1)).sum((0, 1)), dstart


def _check(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None, chunk_size: int) -> None:
    if x.dim() != 3 or not x.is_floating_point() or x.shape[1] < 1:
        raise ValueError(f"x: expected floating-point [batch, time, channels], got {x.dtype} {list(x.shape)}")
    if a.dim() != 2:
        raise ValueError(f"a: expected [channels, state], got {list(a.shape)}")
    batch, time, channels = x.shape
    size = a.shape[1]
    expect("delta", delta, x, batch, time, channels, reference="x")
    expect("a", a, x, channels, size, reference="x")
    expect("b", b, x, batch, time, size, reference="x")
    expect("c", c, x, batch, time, size, reference="x")
    if state is not None:
        expect("state", state, x, batch, channels, size, reference="x")
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
