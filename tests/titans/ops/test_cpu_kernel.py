"""The fused kernel for processors: equal to the naive form, and the same bits twice."""

from __future__ import annotations

import random

import pytest
import torch
from memory_case import memory_arguments, results, worst_error
from torch.utils._pytree import tree_map

from titans.ops import naive_neural_memory, neural_memory
from titans.ops.arguments import warn_unsupported

TOLERANCE = 1e-9


def assert_equal_to_naive(arguments, *, memory_budget=2**20, **switches):
    ours = results(neural_memory, arguments, kernel="cpu", memory_budget=memory_budget, **switches)
    errors = worst_error(ours, results(naive_neural_memory, arguments, **switches))
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("time", "chunk_size"), [(1, 16), (15, 16), (17, 16), (63, 64), (65, 64), (100, 16), (100, 3), (15, 4)]
)
def test_lengths(depth, chunk_size, time):
    assert_equal_to_naive(memory_arguments(time, depth, batch=1), chunk_size=chunk_size, residual=chunk_size == 64)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "silu", "relu"])
@pytest.mark.parametrize("loss", ["sum", "mean", "half"])
def test_memory_forms_and_losses(residual, activation, loss):
    assert_equal_to_naive(memory_arguments(21, 3), chunk_size=8, residual=residual, activation=activation, loss=loss)


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("forgetting", [False, True])
@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("outer_gradient", [False, True])
def test_gates_off_shared_and_stopped(momentum, forgetting, per_layer, outer_gradient):
    arguments = memory_arguments(21, 2, momentum=momentum, forgetting=forgetting, per_layer=per_layer)
    assert_equal_to_naive(arguments, chunk_size=8, residual=True, outer_gradient=outer_gradient)


@pytest.mark.parametrize("name", ["theta", "eta", "alpha"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gates_at_their_ends(name, value):
    arguments = memory_arguments(37, 2)
    some = torch.rand_like(arguments[name]) < 0.3
    arguments[name] = torch.where(some, value, arguments[name].detach()).requires_grad_()
    assert_equal_to_naive(arguments, chunk_size=17)


@pytest.mark.parametrize(
    "switches",
    [{"reset_momentum": True}, {"update_every": 4, "ascent": True}, {"memory_budget": 0}, {"chunk_size": 1}],
    ids=lambda value: next(iter(value)),
)
def test_switches(switches):
    assert_equal_to_naive(memory_arguments(21, 2), **{"chunk_size": 8, "residual": True} | switches)


@pytest.mark.parametrize("seed", range(12))
def test_drawn_shapes(seed):
    draw = random.Random(seed)
    sizes = {"dim": draw.choice([1, 5, 16, 24, 33]), "expansion": draw.randint(1, 3), "batch": 1, "heads": 3}
    arguments = memory_arguments(draw.randint(1, 70), draw.randint(1, 4), **sizes)
    chunk = draw.choice([2, 7, 16, 33])
    assert_equal_to_naive(arguments, chunk_size=chunk, residual=draw.random() < 0.5, loss="mean")


@pytest.mark.parametrize(("dim", "expansion", "chunk_size"), [(32, 2, 16), (64, 4, 64), (20, 3, 33)])
def test_float32_is_as_near_to_float64_as_torch_is(dim, expansion, chunk_size):
    exact = memory_arguments(2 * chunk_size + 5, 2, dim=dim, expansion=expansion)
    single = tree_map(lambda x: x.detach().float().requires_grad_(), exact)
    form = {"chunk_size": chunk_size, "residual": True}
    true = results(neural_memory, exact, kernel="torch", **form)
    ours, torch_s = (
        max(worst_error(results(neural_memory, single, kernel=kernel, **form), true).values())
        for kernel in ("cpu", "torch")
    )
    assert ours < 3 * torch_s + 1e-5


def test_the_same_bits_twice_and_for_any_number_of_threads():
    arguments = memory_arguments(40, 3, batch=3, dim=16, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    for threads in (1, 1, 2, 5):
        torch.set_num_threads(threads)
        found.append(results(neural_memory, arguments, residual=True, kernel="cpu"))
    torch.set_num_threads(before)
    for other in found[1:]:
        for name, x in found[0].items():
            assert torch.equal(x, other[name]), name


def test_the_memory_budget_counts_what_pads_the_tape():
    arguments = memory_arguments(60, 2, dim=5)  # rows of 5 and 3 numbers, each of which takes a whole vector

    def kept(budget: int) -> int:
        """Return the numbers that wait for the backward pass."""
        seen: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.append(x) or x, lambda x: x):
            neural_memory(**arguments, chunk_size=3, kernel="cpu", memory_budget=budget)
        return sum(x.numel() for x in seen)

    everything = kept(2**30)
    assert kept(everything // 2 * arguments["q"].element_size()) < everything / 2


def test_denormal_numbers_are_0_inside_and_the_mode_is_restored():
    arguments = memory_arguments(4, 1, dtype=torch.float32)
    small = torch.full_like(arguments["q"], 1e-39)
    for name in ("q", "k", "v"):
        arguments[name] = small.clone().requires_grad_()
    y, _ = neural_memory(**arguments, kernel="cpu")
    assert not y.any()
    assert (small * 0.5).all()  # torch's own arithmetic has them still


def test_what_is_not_a_number_stays_so():
    arguments = memory_arguments(20, 2, dtype=torch.float32)
    v = arguments["v"].detach().clone()
    v[1, 0, 5, 2] = float("nan")
    y, _ = neural_memory(**arguments | {"v": v}, chunk_size=4, residual=True, kernel="cpu")
    assert y[1, 0, 5:].isnan().all()
    assert not y[1, 0, :4].isnan().any()
    assert not y[0].isnan().any()


@pytest.mark.parametrize(
    ("arguments", "switches", "reason"),
    [
        (memory_arguments(3, 2, dtype=torch.bfloat16), {}, "neither torch.float32 nor torch.float64"),
        (memory_arguments(3, 65), {}, "65 layers"),
        (memory_arguments(3, 1), {"chunk_size": 1}, "form of its own"),
        (memory_arguments(3, 2), {"read": "chunk"}, "reads late"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_call_is_named(arguments, switches, reason):
    warn_unsupported.cache_clear()
    with pytest.warns(UserWarning, match=reason):
        y, _ = neural_memory(**arguments, **switches, kernel="cpu")
    torch.testing.assert_close(y, neural_memory(**arguments, **switches, kernel="torch")[0], rtol=0, atol=0)
