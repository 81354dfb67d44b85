from __future__ import annotations

import torch

from titans.layers.neural_memory import MemoryGates
from titans.models.config import MemoryConfig


def gates_of(x, *, autocast):
    memory = MemoryConfig(alpha_bias=-9.0)
    torch.manual_seed(0)
    gates = MemoryGates(dim=8, heads=2, head_dim=4, memory=memory)
    torch.nn.init.normal_(gates.weight, std=0.1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return gates(x)


def test_gates_keep_their_digits_under_autocast():
    x = torch.randn(2, 50, 8)
    for exact, cast in zip(gates_of(x, autocast=False), gates_of(x, autocast=True), strict=True):
        torch.testing.assert_close(cast, exact, rtol=1e-6, atol=0)


def test_a_gate_that_is_off_is_none_and_theta_makes_up_for_momentum():
    x = torch.randn(1, 3, 8)
    with_momentum = MemoryGates(8, 2, 4, MemoryConfig(eta_bias=2.0))(x)
    without = MemoryGates(8, 2, 4, MemoryConfig(momentum=False, forgetting=False))(x)
    assert without[1] is None
    assert without[2] is None
    torch.testing.assert_close(with_momentum[0], without[0] * (1 - with_momentum[1]))


def test_the_mean_and_half_losses_take_as_large_a_step_unless_told_otherwise():
    x = torch.randn(1, 3, 8)
    steps = {
        (loss, scale): MemoryGates(8, 2, 4, MemoryConfig(loss=loss, theta_scale=scale))(x)[0].mean()
        for loss in ("sum", "mean", "half")
        for scale in (None, 0.5)
    }
    torch.testing.assert_close(steps["mean", None], 4 * steps["sum", None])  # a mean over a head of 4
    torch.testing.assert_close(steps["half", None], 2 * steps["sum", None])
    torch.testing.assert_close(steps["half", 0.5], steps["sum", 0.5])
