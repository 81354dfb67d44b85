"""Groups of chunks whose steps are compiled by torch: between two products there is one pass over the memory, not ten.

A step is compiled once for each shape, which takes seconds to half a minute; torch keeps what it compiled on disk, for
the next process. Groups of a few chunks, ends of sequences and persistent tokens, are not worth that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from titans.ops.neural_memory import group
from titans.ops.neural_memory.group import FastState, GroupBack, Tape, Tokens
from titans.ops.neural_memory.step import Decay, Form, backward_step, forward_step

WORTH = 2  # chunks a group from which on its shape is compiled
SHAPES = 64  # that may be compiled in one process; a limit that is hit is an error, for what follows would be slow
OPTIONS = {"recompile_limit": SHAPES, "fail_on_recompile_limit_hit": True}

_forward, _backward = (torch.compile(step, dynamic=False, fullgraph=True) for step in (forward_step, backward_step))


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
