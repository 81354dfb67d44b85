"""Muon as the inner optimizer: its iteration, and when a group of tokens moves the weights."""

from __future__ import annotations

import pytest
import torch
from memory_case import memory_arguments

from titans.models.config import MemoryConfig
from titans.ops import MemoryState, naive_neural_memory, neural_memory
from titans.ops.arguments import warn_unsupported
from titans.ops.neural_memory.muon import POLYNOMIAL, newton_schulz


def once(x: float) -> float:
    a, b, c = POLYNOMIAL
    return a * x + b * x**3 + c * x**5


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 8, 3), (5, 5)])
def test_the_iteration_takes_each_singular_value_through_its_polynomial(shape: tuple[int, ...]):
    s = torch.randn(shape, dtype=torch.float64)
    u, values, v = torch.linalg.svd(s, full_matrices=False)
    moved = values / values.norm(dim=-1, keepdim=True)
    for _ in range(5):
        moved = once(moved)
    torch.testing.assert_close(newton_schulz(s), u * moved.unsqueeze(-2) @ v)
    assert ((moved > 0.6) & (moved < 1.3))[values > 0.05 * values.max()].all()


def test_the_iteration_takes_no_notice_of_scale_and_has_a_derivative_at_zero():
    s = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(newton_schulz(-1e3 * s), -newton_schulz(s))
    zero = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(newton_schulz(zero).sum(), zero)
    assert newton_schulz(zero).abs().max() == 0
    assert gradient.isfinite().all()


def test_the_step_of_a_number_by_hand():
    """At width 1 the move is theta times five steps of the polynomial from 1, with the error's sign."""
    one = torch.ones(1, 1, 2, 1, dtype=torch.float64)
    zero = (torch.zeros(1, 1, 1, 1, dtype=torch.float64),)
    theta, alpha = 0.1 * one[..., 0], 0.5 * one[..., 0]
    move = 1.0
    for _ in range(5):
        move = once(move)
    for operator in (neural_memory, naive_neural_memory):
        y, _ = operator(one, one, 7 * one, theta, None, alpha, MemoryState(zero, zero), 1, optimizer="muon")
        expected = torch.tensor([0.1 * move, 0.15 * move], dtype=torch.float64)
        torch.testing.assert_close(y.flatten(), expected, rtol=1e-9, atol=0)


def test_a_group_moves_the_weights_at_its_last_token_by_the_sum_of_its_steps():
    arguments = memory_arguments(7, 2, momentum=False, forgetting=False)
    before = arguments["state"].weights
    still = neural_memory(**arguments, chunk_size=6, update_every=3, optimizer="muon", read="chunk")[0]
    y, end = neural_memory(**arguments, chunk_size=6, update_every=3, optimizer="muon")
    torch.testing.assert_close(y[:, :, :2], still[:, :, :2])
    assert ((y - still)[:, :, 2:6].abs().amax(-1) > 1e-6).all()
    part = {name: arguments[name][:, :, :3] for name in ("q", "k", "v", "theta")}
    _, after = neural_memory(**arguments | part, chunk_size=6, update_every=3, optimizer="muon")
    for layer, (old, new) in enumerate(zip(before, after.weights, strict=True)):
        total = arguments["theta"][:, :, :3, layer].sum(-1)
        values = torch.linalg.svdvals(new - old) / total.unsqueeze(-1)
        assert ((values > 0.6) & (values < 1.3)).any(-1).all()
        assert values.max() < 1.3
    unmoved = neural_memory(
        **arguments | {name: x[:, :, :2] for name, x in part.items()}, update_every=4, optimizer="muon"
    )
    assert all(torch.equal(old, new) for old, new in zip(before, unmoved[1].weights, strict=True))
    assert all(s.abs().max() > 0 for s in unmoved[1].momentum)
    assert end.weights[0].shape == before[0].shape


def test_the_share_of_a_single_step_has_no_derivative_in_float32_either():
    arguments = memory_arguments(1, 1, momentum=False, forgetting=False, dtype=torch.float32)
    theta = torch.full((2, 2, 1), 1e-6, requires_grad=True)
    _, end = neural_memory(**arguments | {"theta": theta}, chunk_size=4, update_every=4, optimizer="muon")
    (gradient,) = torch.autograd.grad(end.momentum[0].sum(), theta)  # the step is not in the momentum
    assert gradient.abs().max() == 0


def test_a_kernel_without_muon_says_so_and_torch_runs_the_call():
    arguments = memory_arguments(5, 2)
    expected = neural_memory(**arguments, optimizer="muon", kernel="torch")[0]
    warn_unsupported.cache_clear()  # it warns once
    with pytest.warns(UserWarning, match="a window or Muon"):
        assert torch.equal(neural_memory(**arguments, optimizer="muon", kernel="cpu")[0], expected)


def test_what_makes_no_sense_is_refused():
    for operator in (neural_memory, naive_neural_memory):
        with pytest.raises(ValueError, match="optimizer: 'adam' is not one of gd, muon"):
            operator(**memory_arguments(5, 1), optimizer="adam")
    arguments = memory_arguments(5, 1)
    gain = torch.zeros(2, 2, 6, dtype=torch.float64)
    state = MemoryState(*((*part, gain) for part in arguments["state"]))
    given = arguments | {"state": state, "theta": arguments["theta"][..., 0], "eta": None, "alpha": None}
    with pytest.raises(ValueError, match="optimizer: muon moves matrices"):
        neural_memory(**given, residual=True, gain=True, optimizer="muon")
    neural_memory(**given, residual=True, gain=True, optimizer="muon", written=(0,))
    for values, words in (
        ({"gain": "fast"}, "inner_optimizer: muon moves matrices, and gain: fast is a vector"),
        ({"theta_budget": 1.0}, "theta_budget: has no meaning with inner_optimizer: muon"),
    ):
        with pytest.raises(ValueError, match=words):
            MemoryConfig(inner_optimizer="muon", **values)
