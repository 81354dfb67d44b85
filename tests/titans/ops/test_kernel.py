"""The kernel that a call runs on; triton need not be installed."""

from __future__ import annotations

import pytest
import torch
from memory_case import memory_arguments, results, worst_error

from titans.ops import naive_neural_memory, neural_memory
from titans.ops.arguments import warn_unsupported
from titans.ops.neural_memory import compiled, kernels


def test_an_unknown_kernel_is_named_with_the_valid_ones():
    with pytest.raises(ValueError, match="kernel: 'cuda' is not one of auto, torch, compiled, cpu, triton"):
        neural_memory(**memory_arguments(3, 1), kernel="cuda")


def test_triton_on_a_cpu_wants_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1"):
        neural_memory(**memory_arguments(3, 1), kernel="triton")


def test_auto_on_a_cpu_is_the_cpu_kernel_under_the_interpreter_too(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    arguments = memory_arguments(30, 2)
    ours, plain = (results(neural_memory, arguments, kernel=name) for name in ("auto", "cpu"))
    assert max(worst_error(ours, results(neural_memory, arguments, kernel="torch")).values()) > 0
    assert max(worst_error(ours, plain).values()) == 0


def test_a_call_that_triton_does_not_support_runs_in_torch_with_one_warning(monkeypatch, recwarn):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    warn_unsupported.cache_clear()
    arguments = memory_arguments(5, 3, dtype=torch.float32)
    with pytest.warns(UserWarning, match="kernel='triton' does not support a call, which runs in torch instead: "):
        y, _ = neural_memory(**arguments, kernel="triton")
    recwarn.clear()
    neural_memory(**arguments, kernel="triton")
    assert not recwarn.list
    torch.testing.assert_close(y, neural_memory(**arguments, kernel="torch")[0], rtol=0, atol=0)


compiling = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own


@compiling
@pytest.mark.parametrize("depth", [1, 2])
def test_compiled_chunks_equal_the_naive_form(depth):
    arguments = memory_arguments(19, depth)  # four chunks, and the beginning of one that is not compiled
    ours = results(neural_memory, arguments, chunk_size=4, residual=depth == 2, kernel="compiled")
    naive = results(naive_neural_memory, arguments, chunk_size=4, residual=depth == 2)
    assert max(worst_error(ours, naive).values()) < 1e-9


@compiling
def test_too_many_shapes_are_an_error_instead_of_slow(monkeypatch):
    monkeypatch.setitem(compiled.OPTIONS, "recompile_limit", 1)
    torch._dynamo.reset()
    neural_memory(**memory_arguments(8, 1), chunk_size=4, kernel="compiled")
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        neural_memory(**memory_arguments(10, 1), chunk_size=5, kernel="compiled")
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("chunk", "dim", "large"), [(64, 64, False), (32, 128, False), (64, 96, True), (33, 128, True), (5, 128, False)]
)
def test_chunks_that_do_not_fit_with_float32_factors(chunk, dim, large):
    assert kernels.too_large(chunk, dim) == large
