"""The scan with chunks compiled by torch: the element-wise steps between two matrix products are fused into one.

A chunk is compiled once for each shape, which takes seconds to half a minute. Torch keeps the compiled code in a folder
of the user's own, for the next process. A single chunk, as at the end of a sequence, is run without compilation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from titans.ops.cache import cache_folder, private_folder
from titans.ops.neural_memory.chunk import Gradients, backward_chunk, forward_chunk
from titans.ops.neural_memory.coefficients import (
    Coefficients,
    Gates,
    chunk_coefficients,
    chunk_coefficients_backward,
)
from titans.ops.neural_memory.scan import ChunkTape, Scan, Tokens, scan_backward, scan_forward
from titans.ops.neural_memory.state import MemoryState, State, Switches

WORTH = 2  # the fewest chunks for which compilation pays
SHAPES = 64  # the most shapes of one process; more would run uncompiled and slow, so they are an error
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
OPTIONS = {"recompile_limit": SHAPES, "fail_on_recompile_limit_hit": True}

_forward_chunk, _backward_chunk = (
    torch.compile(chunk, dynamic=False, fullgraph=True) for chunk in (forward_chunk, backward_chunk)
)
_coefficients: Any = torch.compile(chunk_coefficients, fullgraph=True)
_coefficients_backward: Any = torch.compile(chunk_coefficients_backward, fullgraph=True)


def _chunks(gates: Gates, size: int) -> int:
    return gates.theta.shape[1] // size


def coefficients(gates: Gates, size: int, update_every: int) -> Coefficients:
    """Return `chunk_coefficients` of gates `[N, chunks * size]`, compiled once for any number of chunks."""
    chunks = _chunks(gates, size)
    if chunks < WORTH:
        return chunk_coefficients(gates, size, update_every)
    with torch._dynamo.config.patch(OPTIONS):
        stacked = _coefficients(_rows(gates, size), size, update_every)
    return Coefficients(*(x.view(chunks, -1, *x.shape[2:]) for x in stacked))


def coefficients_backward(gates: Gates, size: int, update_every: int, gradient: Coefficients) -> Gates:
    """Return `chunk_coefficients_backward`, the gradients with respect to gates `[N, chunks * size]`."""
    chunks = _chunks(gates, size)
    if chunks < WORTH:
        return chunk_coefficients_backward(gates, size, update_every, gradient)
    given = Coefficients(*(_of_any_size(x.reshape(1, -1, *x.shape[2:]), 1) for x in gradient))  # type: ignore[union-attr]
    with torch._dynamo.config.patch(OPTIONS):
        rows = _coefficients_backward(_rows(gates, size), size, update_every, given)
    return Gates.of(None if x is None else x.view(chunks, -1, size).movedim(0, 1).flatten(1) for x in rows)


def forward(
    switches: Switches, size: int, coefficients: Sequence[Coefficients], tokens: Tokens, state: State, keep: bool
) -> tuple[Tensor, State, list[ChunkTape] | None]:
    """Return the result of `scan_forward`, tokens `[N, chunks * size, D]`."""
    chunk: Any = _forward_chunk if tokens[0].shape[1] >= WORTH * size else forward_chunk
    with torch._dynamo.config.patch(OPTIONS):
        return scan_forward(switches, size, coefficients, tokens, state, keep, chunk)


def backward(
    switches: Switches, size: int, coefficients: Sequence[Coefficients], tokens: Tokens, tape: list[ChunkTape],
    dy: Tensor, dstate: MemoryState,
) -> Gradients:  # fmt: skip
    """Return the result of `scan_backward`, tokens and dy `[N, chunks * size, D]`."""
    chunk: Any = _backward_chunk if tokens[0].shape[1] >= WORTH * size else backward_chunk
    with torch._dynamo.config.patch(OPTIONS):
        return scan_backward(switches, size, coefficients, tokens, tape, dy, dstate, chunk)


COMPILED = Scan(coefficients, coefficients_backward, forward, backward)


def compile_into_own_folder() -> None:
    """Point torch's compiler to a folder of the user's own, unless `TORCHINDUCTOR_CACHE_DIR` names another.

    Torch's default lies below the folder for temporary files, under a name that anybody there may take before the user
    does. Precompiled headers lie there in any case, and are not used where that folder is not the user's own.
    """
    default = default_cache_dir()
    if os.environ.get(CACHE_VARIABLE) in (None, "", default):
        os.environ[CACHE_VARIABLE] = str(cache_folder("inductor"))
    try:
        private_folder(Path(default))
    except OSError:
        torch._inductor.config.cpp_cache_precompile_headers = False


def _rows(gates: Gates, size: int) -> Gates:
    """Return the gates with a row for each chunk, batch entry and head, `[rows, size]`."""
    rows = (None if x is None else x.unflatten(1, (-1, size)).movedim(1, 0).reshape(-1, size) for x in gates)
    return Gates.of(None if x is None else _of_any_size(x, 0) for x in rows)


def _of_any_size(x: Tensor, dim: int) -> Tensor:
    """Mark a dimension as one whose size is not compiled for."""
    torch._dynamo.maybe_mark_dynamic(x, dim)
    return x
