"""The scan over chunks, forward and backward, and the interface of a scan, `Scan`, which every kernel implements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.chunk import (
    Gradients,
    Products,
    backward_chunk,
    forward_chunk,
    read_chunk,
    write_chunk,
)
from titans.ops.neural_memory.coefficients import (
    Coefficients,
    Gates,
    chunk_coefficients,
    chunk_coefficients_backward,
    per_chunk,
)
from titans.ops.neural_memory.mlp import inner_gradient
from titans.ops.neural_memory.muon import advance_by_muon, forward_chunk_by_muon, muon_coefficients
from titans.ops.neural_memory.state import LaggedState, MemoryState, State, Switches

#: q, k and v, `[N, chunks * C, D]`; for the objective huber then the thresholds, `[N, chunks * C, 1]`. With a window,
#: all but q begin with those of its halo.
Tokens = tuple[Tensor, ...]


def tape_sizes(widths: Sequence[int], size: int, dtype: torch.dtype) -> tuple[int, int]:
    """Return the numbers that the tape holds of a sequence and head: of a state, and of a chunk's products.

    Args:
        widths: The width of the first layer's input, then of each layer's output.
        size: Tokens in a chunk.
        dtype: The type of the numbers, by which a kernel may pad them.
    """
    outputs = widths[1:]
    of_state = 2 * sum(o * i for o, i in zip(outputs, widths[:-1], strict=True))
    return of_state, size * (3 * sum(outputs) - outputs[-1])


class Scan(NamedTuple):
    """The functions that compute the operator on whole chunks; a kernel brings a set of its own.

    Attributes:
        coefficients: `chunk_coefficients`, or what computes the same in a form for the scan's own functions alone: a
            named tuple of tensors.
        coefficients_backward: `chunk_coefficients_backward`, or what computes the same.
        forward: `scan_forward`, or what computes the same. Its tape is for the scan's own `backward` alone.
        backward: `scan_backward`, or what computes the same. None: autograd differentiates `forward`.
        tape_sizes: `tape_sizes`, or what counts the numbers of the scan's own tape.
    """

    coefficients: Callable[[Gates, int, int], Any]
    coefficients_backward: Callable[[Gates, int, int, Any], Gates]
    forward: Callable[[Switches, int, Sequence[Any], Tokens, State, bool], tuple[Tensor, State, Any]]
    backward: Callable[[Switches, int, Sequence[Any], Tokens, Any, Tensor, MemoryState], Gradients] | None
    tape_sizes: Callable[[Sequence[int], int, torch.dtype], tuple[int, int]] = tape_sizes


class ChunkTape(NamedTuple):
    """The tape of a chunk for the backward pass: the state before it, and its products."""

    state: State
    products: Products


def scan_forward(
    switches: Switches,
    size: int,
    coefficients: Sequence[Coefficients | None],
    tokens: Tokens,
    state: State,
    keep: bool,
    forward_chunk: Callable[..., tuple[Tensor, State, Products]] = forward_chunk,
) -> tuple[Tensor, State, list[ChunkTape] | None]:
    """Write and read chunk by chunk.

    Args:
        switches: How the memory is built, written and read.
        size: Tokens in a chunk.
        coefficients: For each layer, stacked over the chunks: `[chunks, N, ...]`. None for a layer that is not written.
        tokens: q, k and v of whole chunks, `[N, chunks * size, D]`.
        state: The state before the first chunk, `[N, O, I]` for each layer.
        keep: Whether `scan_backward` will be called.
        forward_chunk: `forward_chunk`, or what computes the same.

    Returns:
        What was read, like q; the state after the last chunk; and with `keep` what the backward pass needs.
    """
    read: list[Tensor] = []
    tape: list[ChunkTape] = []
    for of_chunk, *qkv in _chunks(size, coefficients, tokens):
        if switches.reset_momentum:
            state = state._replace(momentum=tuple(torch.zeros_like(s) for s in state.momentum))
        y, after, products = forward_chunk(switches, state, of_chunk, *qkv)
        read.append(y)
        if keep:
            tape.append(ChunkTape(state, products))
        state = after
    return torch.cat(read, 1), state, tape if keep else None


def scan_backward(
    switches: Switches,
    size: int,
    coefficients: Sequence[Coefficients],
    tokens: Tokens,
    tape: list[ChunkTape],
    dy: Tensor,
    dstate: MemoryState,
    backward_chunk: Callable[..., Gradients] = backward_chunk,
) -> Gradients:
    """Go back through the chunks of `scan_forward`.

    Args:
        switches, size, coefficients, tokens: The arguments of `scan_forward`.
        tape: What `scan_forward` kept.
        dy: The gradient with respect to what was read, `[N, chunks * size, D]`.
        dstate: The gradient with respect to the state after the last chunk, `[N, O, I]` for each layer.
        backward_chunk: `backward_chunk`, or what computes the same.

    Returns:
        The gradients, those by the coefficients stacked over the chunks.
    """
    found: list[Gradients] = []
    chunks = list(zip(_chunks(size, coefficients, (*tokens, dy)), tape, strict=True))
    for (of_chunk, q, k, v, dy_chunk), (state, products) in reversed(chunks):
        part = backward_chunk(switches, state, of_chunk, q, k, v, products, dy_chunk, dstate)
        dstate = part.state
        if switches.reset_momentum:
            dstate = dstate._replace(momentum=tuple(torch.zeros_like(s) for s in dstate.momentum))
        found.insert(0, part._replace(state=MemoryState((), ())))  # those of all chunks are as large as the tape
    stacked = [
        Coefficients(*(torch.stack(x) for x in zip(*of_layer, strict=True)))
        for of_layer in zip(*(part.coefficients for part in found), strict=True)
    ]
    dq, dk, dv = (
        None if parts[0] is None else torch.cat(parts, 1) for parts in zip(*(part[:3] for part in found), strict=True)
    )
    assert dq is not None
    return Gradients(dq, dk, dv, stacked, dstate)


def continue_chunk(
    switches: Switches, coefficients: Sequence[Any], tokens: Tokens, state: State, opening: State
) -> tuple[Tensor, State]:
    """Write and read further tokens of a chunk, whose inner gradients are at the weights that the chunk started with.

    Args:
        switches: How the memory is built, written and read.
        coefficients: For each layer, over these tokens alone, `[N, ...]`; None for a layer that is not written.
        tokens: q, k and v, `[N, time, D]`, and for the objective huber the thresholds, `[N, time, 1]`; with a window,
            all but q begin with those of its halo.
        state: The state after the tokens of the chunk so far, `[N, O, I]` for each layer.
        opening: The state that the chunk started with.

    Returns:
        What was read, like q, and the state after these tokens.
    """
    q, k, v, *thresholds = tokens
    threshold = thresholds[0] if thresholds else None
    anchor = opening.weights
    if not switches.outer_gradient:
        anchor, k, v = tuple(w.detach() for w in anchor), k.detach(), v.detach()
        threshold = None if threshold is None else threshold.detach()
    surprise = inner_gradient(anchor, k, v, switches, threshold=threshold)
    if switches.optimizer == "muon":
        return advance_by_muon(switches, state, coefficients, surprise, q, opening)
    y, _ = read_chunk(switches, state if switches.read == "token" else opening, coefficients, surprise, q)
    after = write_chunk(switches, state, coefficients, surprise)
    return y, after._replace(lagged=opening.weights) if isinstance(after, LaggedState) else after


#: Torch's own scan.
TORCH = Scan(chunk_coefficients, chunk_coefficients_backward, scan_forward, scan_backward)
#: Torch's own scan for the switches that `backward_chunk` does not cover.
TAPED = TORCH._replace(backward=None)
#: The scan of Muon, which autograd differentiates too.
MUON = TAPED._replace(
    coefficients=muon_coefficients, forward=partial(scan_forward, forward_chunk=forward_chunk_by_muon)
)  # fmt: skip


def _chunks(size: int, coefficients: Sequence[Coefficients | None], streams: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    """Return for each chunk the coefficients of all layers and its part of each stream, its halo included."""
    chunks = streams[0].shape[1] // size
    parts = [x.split(size, 1) if x.shape[1] == chunks * size else _overlapping(x, chunks, size) for x in streams]
    return list(zip(per_chunk(coefficients, chunks), *parts, strict=True))


def _overlapping(x: Tensor, chunks: int, size: int) -> tuple[Tensor, ...]:
    """Return the part of each chunk, of a stream `[N, halo + chunks * size, D]`: `[N, halo + size, D]`."""
    return x.unfold(1, x.shape[1] - (chunks - 1) * size, size).mT.unbind(1)
