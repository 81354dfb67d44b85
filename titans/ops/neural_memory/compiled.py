"""Groups of chunks whose steps are compiled by torch: between two products there is one pass over the memory, not ten.

A step is compiled once for each shape, which takes seconds to half a minute; torch keeps what it compiled on disk, for
the next process. A chunk on its own, as at the end of a sequence, is not worth that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from titans.ops.neural_memory import group
from titans.ops.neural_memory.group import FastState, Gates, GroupBack, Tape, Tokens, gates_of
from titans.ops.neural_memory.step import Decay, Form, backward_step, forward_step

WORTH = 2  # chunks a group from which on its shape is compiled
SHAPES = 64  # that may be compiled in one process; a limit that is hit is an error, for what follows would be slow
OPTIONS = {"recompile_limit": SHAPES, "fail_on_recompile_limit_hit": True}

_forward, _backward = (torch.compile(step, dynamic=False, fullgraph=True) for step in (forward_step, backward_step))
_decay: Any = torch.compile(group.chunk_decay, fullgraph=True)
_decay_back: Any = torch.compile(group.chunk_decay_back, fullgraph=True)


def chunk_decay(gates: Gates, size: int, update_every: int) -> Decay:
    """As of `group`, compiled once for any number of chunks."""
    chunks = gates.theta.shape[2] // size
    if chunks < WORTH:
        return group.chunk_decay(gates, size, update_every)
    with torch._dynamo.config.patch(OPTIONS):
        decay = _decay(_rows(gates, size), size, update_every)
    return Decay(*(x.view(chunks, -1, *x.shape[2:]) for x in decay))


def chunk_decay_back(gates: Gates, size: int, update_every: int, gradient: Decay) -> Gates:
    """As of `group`."""
    chunks = gates.theta.shape[2] // size
    if chunks < WORTH:
        return group.chunk_decay_back(gates, size, update_every, gradient)
    given = Decay(*(_any_number(x.reshape(1, -1, *x.shape[2:]), 1) for x in gradient))
    with torch._dynamo.config.patch(OPTIONS):
        rows = _decay_back(_rows(gates, size), size, update_every, given)
    shape = chunks, *gates.theta.shape[:2], size
    return gates_of(None if x is None else x.view(shape).movedim(0, 2).flatten(2) for x in rows)


def _rows(gates: Gates, size: int) -> Gates:
    """With a row for each chunk, batch entry and head, `[rows, 1, size]`."""
    rows = (None if x is None else x.unflatten(2, (-1, size)).movedim(2, 0).reshape(-1, 1, size) for x in gates)
    return gates_of(None if x is None else _any_number(x, 0) for x in rows)


def _any_number(x: Tensor, dim: int) -> Tensor:
    """A tensor whose size along `dim` is not compiled for."""
    torch._dynamo.maybe_mark_dynamic(x, dim)
    return x


def forward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, state: FastState, keep: bool
) -> tuple[Tensor, FastState, list[Tape] | None]:
    """As of `group`."""
    step: Any = _forward if _worth(decays) else forward_step
    with torch._dynamo.config.patch(OPTIONS):
        return group.forward_group(form, reset_momentum, decays, tokens, state, keep, step)


def backward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, tapes: list[Tape], dy: Tensor,
    dstate: FastState,
) -> GroupBack:  # fmt: skip
    """As of `group`."""
    step: Any = _backward if _worth(decays) else backward_step
    with torch._dynamo.config.patch(OPTIONS):
        return group.backward_group(form, reset_momentum, decays, tokens, tapes, dy, dstate, step)


def _worth(decays: list[Decay]) -> bool:
    return len(decays[0].mask) >= WORTH
