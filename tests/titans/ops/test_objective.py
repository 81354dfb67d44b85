"""The inner objectives, each against its formula, and what they make of a memory."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from memory_case import memory_arguments, results, worst_error

from titans.ops import naive_neural_memory, neural_memory
from titans.ops.neural_memory.objective import objective_gradient, objective_value
from titans.ops.neural_memory.state import Switches

OBJECTIVES = ("l2", "lp", "huber", "dot")


def switches(objective: str, loss: str = "sum", power: float = 3.0) -> Switches:
    form = (4, "gelu", False, loss, True, 1, "token", False, False, None, False)
    return Switches(*form, objective, power)


def bound(objective: str, value: float = 0.5) -> torch.Tensor | None:
    return torch.full((1, 1), value, dtype=torch.float64) if objective == "huber" else None


@pytest.mark.parametrize("loss", ["sum", "mean", "half"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_is_that_of_the_value(objective: str, loss: str):
    answer, v = torch.randn(2, 7, 5, dtype=torch.float64)
    answer.requires_grad_()
    form = switches(objective, loss)
    expected = torch.autograd.grad(objective_value(answer, v, form, bound(objective)).sum(), answer)[0]
    torch.testing.assert_close(objective_gradient(answer, v, form, bound(objective)), expected)


@pytest.mark.parametrize(
    ("objective", "error", "gradient"),
    [
        ("l2", (3.0, 4.0), (6.0, 8.0)),
        ("lp", (3.0, -4.0), (27.0, -48.0)),  # 3 sign(e) e^2
        ("huber", (0.3, 0.4), (0.6, 0.8)),  # below a threshold of 2, like l2
        ("huber", (3.0, 4.0), (2.4, 3.2)),  # 2 d e / ||e||
        ("dot", (3.0, 4.0), (-2.0, -2.0)),  # -2 v
    ],
)
def test_the_gradient_of_a_known_error(objective: str, error: tuple[float, float], gradient: tuple[float, float]):
    v = torch.ones(1, 2, dtype=torch.float64)
    answer = v + torch.tensor([error], dtype=torch.float64)
    found = objective_gradient(answer, v, switches(objective), bound(objective, 2.0))
    torch.testing.assert_close(found, torch.tensor([gradient], dtype=torch.float64), rtol=1e-6, atol=0)


def test_an_error_of_zero_has_finite_derivatives():
    zero, v = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True), torch.zeros(1, 3, dtype=torch.float64)
    for objective in OBJECTIVES:
        gradient = objective_gradient(zero, v, switches(objective, power=1.0), bound(objective))
        if gradient.requires_grad:
            assert torch.autograd.grad(gradient.sum(), zero)[0].isfinite().all()
        assert gradient.abs().max() == 0


def test_a_large_threshold_is_l2_and_a_power_of_2_nearly():
    arguments = memory_arguments(11, 2)
    plain = results(neural_memory, arguments, chunk_size=4, residual=True)
    wide = partial(neural_memory, objective="huber", threshold=torch.full((2, 2, 11), 1e3, dtype=torch.float64))
    assert max(worst_error(results(wide, arguments, chunk_size=4, residual=True), plain).values()) < 1e-12
    squared = results(neural_memory, arguments, chunk_size=4, residual=True, objective="lp", power=2.0)
    assert max(worst_error(squared, plain).values()) < 1e-12


@pytest.mark.parametrize("objective", ["l2", "dot"])
def test_a_linear_memory_that_writes_by_dot_takes_no_notice_of_what_it_holds(objective: str):
    arguments = memory_arguments(9, 1, momentum=False, forgetting=False)
    empty = arguments["state"]._replace(weights=tuple(torch.zeros_like(w) for w in arguments["state"].weights))
    written = [
        neural_memory(**(arguments | {"state": state}), objective=objective)[1].weights[0] - state.weights[0]
        for state in (arguments["state"], empty)
    ]
    assert torch.allclose(*written) == (objective == "dot")


def test_outliers_move_a_memory_less_by_huber():
    arguments = memory_arguments(6, 1, momentum=False, forgetting=False)
    far = arguments | {"v": 100 * arguments["v"].detach()}
    thresholds = torch.full((2, 2, 6), 1.0, dtype=torch.float64)

    def moved(**form: object) -> float:
        return float((neural_memory(**far, **form)[1].weights[0] - far["state"].weights[0]).norm().detach())  # type: ignore[arg-type]

    assert moved(objective="huber", threshold=thresholds) < 0.1 * moved()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "l3"}, "objective: 'l3' is not one of l2, lp, huber, dot"),
        ({"objective": "huber"}, "threshold: is for the objective huber, which needs one"),
        ({"threshold": torch.ones(2, 2, 5, dtype=torch.float64)}, "threshold: is for the objective huber"),
        ({"objective": "huber", "threshold": torch.ones(2, 2, 4, dtype=torch.float64)}, "threshold: expected"),
        ({"objective": "lp", "power": 0.5}, "power: 0.5 is below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict, message: str):
    for operator in (neural_memory, naive_neural_memory):
        with pytest.raises(ValueError, match=message):
            operator(**memory_arguments(5, 1), **given)


def test_thresholds_start_where_they_are_set():
    from titans.mixers.lmm.layer import LongTermMemory
    from titans.models.config import MemoryConfig, ModelConfig

    config = ModelConfig(variant="lmm", dim=32, n_heads=2, memory=MemoryConfig(objective="huber", huber_threshold=0.25))
    gates = LongTermMemory(config).memory.gates
    found = gates.thresholds(gates.logits(torch.randn(3, 5, 32)))
    assert found is not None
    assert found.shape == (3, 2, 5)
    torch.testing.assert_close(found, torch.full_like(found, 0.25 * math.sqrt(16)))
