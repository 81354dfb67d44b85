"""The Triton kernels in Triton's interpreter, on a CPU: equal to torch's scan and to the naive form.

`.ci/run` runs them in an environment of the extra `triton`. The interpreter computes each program in NumPy, so that
shapes are small; that the kernels compile for a GPU, and what they take of it, is tested without one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from memory_case import memory_arguments, results, worst_error
from torch.utils import _pytree as pytree

from titans.ops import naive_neural_memory, neural_memory
from titans.ops.arguments import warn_unsupported
from titans.ops.neural_memory.coefficients import Coefficients
from titans.ops.neural_memory.scan import TORCH
from titans.ops.neural_memory.state import MemoryState, Switches

MISSING = [
    *(["triton is not installed: pip install -e '.[triton]'"] if importlib.util.find_spec("triton") is None else []),
    *(["TRITON_INTERPRET is not 1"] if os.environ.get("TRITON_INTERPRET") != "1" else []),
]
if MISSING:
    if os.environ.get("TITANS_TRITON"):  # set by `.ci/run`, where none of these tests may be skipped
        pytest.fail(MISSING[0])
    pytest.skip(MISSING[0], allow_module_level=True)

from titans.ops.neural_memory.triton import TRITON  # noqa: E402  it takes triton to import it

# the interpreter's own, on each of its loads of a single number
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")

TOLERANCE = 1e-4  # of float32, relative to a result's largest value or 1
SHARED_MEMORY = 227 * 2**10  # bytes that a program may have on an H200


def case(time, depth, **sizes):
    return memory_arguments(time, depth, dtype=torch.float32, **{"batch": 1, "heads": 2, "dim": 16} | sizes)


def assert_equal_to_naive(arguments, *, memory_budget=2**20, **switches):
    ours = results(neural_memory, arguments, kernel="triton", memory_budget=memory_budget, **switches)
    errors = worst_error(ours, results(naive_neural_memory, arguments, **switches))
    assert max(errors.values()) < TOLERANCE, errors


def named(nested):
    """The tensors in nested tuples and lists, by their place."""
    return {str(place): x for place, x in enumerate(pytree.tree_leaves(nested))}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_the_scan_equals_torch_s(depth, residual):
    """With coefficients that no gates give, so that every gradient by them stands on its own."""
    chunks, rows, size, dim = 2, 2, 6, 20
    arguments = case(chunks * size, depth, dim=dim)
    tokens = tuple(x.detach().flatten(0, 1) for x in (arguments["q"], arguments["k"], arguments["v"]))
    state = MemoryState(*(tuple(x.detach().flatten(0, 1) for x in part) for part in arguments["state"]))
    columns = [(size, size), (size, 1), (size, 1), (size, 1), (size, 1), (1, 1)]
    drawn = [Coefficients(*(0.3 * torch.rand(chunks, rows, *sides) for sides in columns)) for _ in range(depth)]
    dy, dstate = torch.randn_like(tokens[0]), MemoryState(*(tuple(map(torch.randn_like, part)) for part in state))
    switches = Switches(size, "silu", residual, "sum", True, 1, "token", False, False, None, False)
    found = []
    for scan in (TRITON, TORCH):
        y, end, tape = scan.forward(switches, size, drawn, tokens, state, True)
        found.append(named((y, end, scan.backward(switches, size, drawn, tokens, tape, dy, dstate))))
    errors = worst_error(*found)
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(("time", "chunk_size"), [(1, 16), (33, 16), (11, 5), (3, 1)])
def test_lengths(depth, time, chunk_size):
    assert_equal_to_naive(case(time, depth), chunk_size=chunk_size, residual=True)


@pytest.mark.parametrize(
    ("dim", "expansion", "depth", "chunk_size"),
    [(32, 4, 2, 16), (48, 3, 2, 32), (64, 1, 2, 64), (96, 1, 1, 16), (128, 4, 2, 16), (128, 1, 1, 64)],
)
def test_widths_and_chunks(dim, expansion, depth, chunk_size):
    arguments = case(chunk_size + 3, depth, dim=dim, expansion=expansion, heads=1)
    assert_equal_to_naive(arguments, chunk_size=chunk_size, residual=True, loss="mean")


@pytest.mark.parametrize("activation", ["gelu", "silu", "relu"])
@pytest.mark.parametrize(("residual", "loss"), [(False, "half"), (True, "sum"), (False, "mean")])
def test_memory_forms_and_losses(activation, residual, loss):
    assert_equal_to_naive(case(12, 2), chunk_size=8, residual=residual, activation=activation, loss=loss)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("gates", "switches"),
    [
        ({"per_layer": False}, {}),
        ({"momentum": False}, {}),
        ({"forgetting": False}, {"reset_momentum": True}),
        ({}, {"outer_gradient": False}),
        ({}, {"update_every": 4, "ascent": True}),
        ({}, {"memory_budget": 0}),
    ],
    ids=["shared gates", "no momentum", "reset momentum", "stopped gradient", "updates of four", "recomputed"],
)
def test_gates_and_switches(depth, gates, switches):
    assert_equal_to_naive(case(20, depth, **gates), chunk_size=8, residual=True, **switches)


def test_without_gradient_two_places_hold_the_states():
    arguments = case(40, 2)
    with torch.no_grad():
        y, end = neural_memory(**arguments, chunk_size=8, kernel="triton")
        plain, plain_end = neural_memory(**arguments, chunk_size=8, kernel="torch")
    torch.testing.assert_close(y, plain, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(end, plain_end, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "switches", "reason"),
    [
        (memory_arguments(3, 2), {}, "torch.float64"),
        (case(3, 3), {}, "3 layers"),
        (case(3, 1), {"chunk_size": 1}, "form of its own"),
        (case(3, 2), {"chunk_size": 65}, "chunks of 65"),
        (case(3, 2), {"read": "chunk"}, "reads late"),
        (case(3, 1, dim=129), {}, "heads of 129"),
        (case(3, 2, dim=48, expansion=11), {}, "hidden width of 528"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_call_is_named(arguments, switches, reason):
    warn_unsupported.cache_clear()
    with pytest.warns(UserWarning, match=reason):
        y, _ = neural_memory(**arguments, **switches, kernel="triton")
    torch.testing.assert_close(y, neural_memory(**arguments, **switches, kernel="torch")[0], rtol=0, atol=0)


@pytest.mark.parametrize("shape", ["2 128 512 64 bf16", "1 128 128 32 tf32"])
def test_the_kernels_compile_for_an_h200_within_its_shared_memory(shape):
    """Which the interpreter says nothing of. In a process of its own, as this one interprets them."""
    helper = Path(__file__).parents[2] / "helpers" / "compile_kernels.py"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, helper, *shape.split()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    assert set(taken) == {"forward_kernel", "backward_kernel"}
    assert max(taken.values()) < SHARED_MEMORY, taken
