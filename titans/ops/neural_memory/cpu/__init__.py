"""The scan over chunks as a fused kernel for processors, in C: float32 and float64, any depth, chunk and head.

Torch's steps go through memory once for each of some hundred small operations a chunk. The kernel goes through a
sequence and head chunk after chunk with the state in the core's cache, and starts nothing between. It is C source
(scan.c) that the machine's own compiler builds at first use, in a second or two (build.py), and ctypes loads. So
`titans` needs nothing but torch, and the code is for the processor at hand. Inductor's templates take half a minute
for each shape; Numba would be a dependency of a hundred megabytes, and has no vectors of registers to block by.

The kernel takes the gates themselves. Its coefficients (gates.h) never leave the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int64
from typing import NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.chunk import Gradients
from titans.ops.neural_memory.coefficients import Gates
from titans.ops.neural_memory.cpu.binding import KernelCall, contiguous_rows
from titans.ops.neural_memory.objective import loss_slope
from titans.ops.neural_memory.scan import Scan, Tokens
from titans.ops.neural_memory.state import MemoryState, State, Switches

ACTIVATIONS = ("gelu", "silu", "relu")  # in the order of activation.h


class Tape(NamedTuple):
    """What the backward pass needs of the forward pass, as forward.h lays it out.

    Attributes:
        states: The state before each chunk and after the last, `[N, chunks + 1, numbers]`.
        products: The products of each chunk, `[N, chunks, numbers]`.
    """

    states: Tensor
    products: Tensor


def forward(
    switches: Switches, size: int, gates: Sequence[Gates], tokens: Tokens, state: State, keep: bool
) -> tuple[Tensor, State, Tape | None]:
    """Return what `scan_forward` returns, tokens `[N, chunks * size, D]`, from the gates themselves."""
    q, state = tokens[0], _contiguous(state)
    call, _held = _call(switches, size, gates, tokens, state)
    y, end = _unfilled(q), _like(state)
    call.place(y=y)
    call.place_layers(weights=state.weights, momentum=state.momentum)
    call.place_layers(end_weights=end.weights, end_momentum=end.momentum)
    tape = None
    if keep:
        of_state, of_products = call.tape(q.dtype)
        rows = q.shape[0], call.chunks
        tape = Tape(q.new_empty(rows[0], rows[1] + 1, of_state), q.new_empty(*rows, of_products))
        call.states, call.products = tape.states.data_ptr(), tape.products.data_ptr()
    call.run("forward", q.dtype)
    return y, end, tape


def backward(
    switches: Switches, size: int, gates: Sequence[Gates], tokens: Tokens, tape: Tape, dy: Tensor, dstate: MemoryState
) -> Gradients:
    """Return what `scan_backward` returns, tokens and dy `[N, chunks * size, D]`, with gradients by the gates."""
    q, dstate, dy = tokens[0], _contiguous(dstate), contiguous_rows(dy)
    call, _held = _call(switches, size, gates, tokens, dstate)
    dq, dk, dv = (_unfilled(q) for _ in range(3))
    dgates = [Gates.of(None if x is None else _unfilled(x) for x in of_layer) for of_layer in gates]
    dstart = _like(dstate)
    call.place(dy=dy, dq=dq, dk=dk, dv=dv)
    call.place_layers(**{f"d{name}": x for name, x in _by_gate(dgates).items()})
    call.place_layers(dend_weights=dstate.weights, dend_momentum=dstate.momentum)
    call.place_layers(dweights=dstart.weights, dmomentum=dstart.momentum)
    call.states, call.products = tape.states.data_ptr(), tape.products.data_ptr()
    call.run("backward", q.dtype)
    outer = switches.outer_gradient
    return Gradients(dq, dk if outer else None, dv if outer else None, dgates, dstart)


def tape_sizes(widths: Sequence[int], size: int, dtype: torch.dtype) -> tuple[int, int]:
    """Return what `titans.ops.neural_memory.scan.tape_sizes` returns for this kernel, whose rows are whole vectors."""
    call = KernelCall(size=size, layers=len(widths) - 1, widths=(c_int64 * len(widths))(*widths))
    return call.tape(dtype)


CPU = Scan(
    lambda gates, size, every: gates, lambda gates, size, every, gradient: gradient, forward, backward, tape_sizes
)  # fmt: skip


def _call(
    switches: Switches, size: int, gates: Sequence[Gates], tokens: Tokens, state: State
) -> tuple[KernelCall, list[object]]:
    """Return a call with all that forward and backward share, and the tensors that it points to."""
    streams = [contiguous_rows(x) for x in tokens]
    by_gate = _by_gate([Gates.of(None if x is None else contiguous_rows(x) for x in each) for each in gates])
    rows, time, dim = tokens[0].shape
    widths = [dim, *(w.shape[1] for w in state.weights)]
    call = KernelCall(
        rows=rows, chunks=time // size, size=size, layers=len(state.weights), threads=torch.get_num_threads(),
        activation=ACTIVATIONS.index(switches.activation), residual=switches.residual, outer=switches.outer_gradient,
        reset=switches.reset_momentum, every=switches.update_every, slope=loss_slope(switches.loss, dim),
        widths=(c_int64 * len(widths))(*widths),
    )  # fmt: skip
    call.place(**dict(zip("qkv", streams, strict=True)))
    call.place_layers(**by_gate)
    return call, [streams, by_gate]


def _by_gate(gates: Sequence[Gates]) -> dict[str, tuple[Tensor | None, ...]]:
    """Return for each gate those of all layers. The kernel has no window, and so no gamma."""
    names = (name for name in Gates._fields if name != "gamma")
    return dict(zip(names, zip(*(each[:-1] for each in gates), strict=True), strict=True))


def _contiguous(state: State) -> MemoryState:
    return MemoryState(*(tuple(x.contiguous() for x in part) for part in state[:2]))


def _like(state: MemoryState) -> MemoryState:
    return MemoryState(*(tuple(map(_unfilled, part)) for part in state))


def _unfilled(x: Tensor) -> Tensor:
    """Return a contiguous tensor of the same shape that is to be filled."""
    return torch.empty(x.shape, dtype=x.dtype)
