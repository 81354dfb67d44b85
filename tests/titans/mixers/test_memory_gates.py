from __future__ import annotations

import torch

from titans.mixers.lmm.layer import MemoryGates
from titans.models.config import MemoryConfig, ModelConfig


def gates_of(x, *, autocast=False, std=0.0, **memory):
    """theta, eta and alpha of a memory of depth 2 with one set of gates a head of width 4."""
    config = ModelConfig(dim=8, n_heads=2, memory=MemoryConfig(gates_per_layer=False, **memory))
    torch.manual_seed(0)
    gates = MemoryGates(config, inputs={0: 4, 1: 16})
    torch.nn.init.normal_(gates.weight, std=std)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return gates(gates.logits(x), chunk_size=16)


def test_gates_keep_their_digits_under_autocast():
    x = torch.randn(2, 50, 8)
    exacts, casts = (gates_of(x, autocast=autocast, std=0.1, alpha_bias=-9.0) for autocast in (False, True))
    for exact, cast in zip(exacts, casts, strict=True):
        torch.testing.assert_close(cast, exact, rtol=1e-6, atol=0)


def test_a_gate_that_is_off_is_none_and_theta_makes_up_for_momentum():
    x = torch.randn(1, 3, 8)
    with_momentum = gates_of(x, eta_bias=2.0)
    without = gates_of(x, momentum=False, forgetting=False)
    assert without[1] is None
    assert without[2] is None
    torch.testing.assert_close(with_momentum[0], without[0] * (1 - with_momentum[1]))


def test_the_first_step_without_damping_is_the_same_and_later_ones_do_not_depend_on_eta():
    x = torch.randn(1, 3, 8)
    damped, undamped = (gates_of(x, eta_bias=2.0, theta_damping=damping)[0] for damping in (True, False))
    torch.testing.assert_close(undamped, damped)
    given = {"theta_scale": 0.3, "std": 0.1}
    theta, eta, _ = gates_of(x, eta_bias=2.0, **given)
    torch.testing.assert_close(gates_of(x, eta_bias=2.0, theta_damping=False, **given)[0], theta / (1 - eta))


def test_the_mean_and_half_losses_take_as_large_a_step_unless_told_otherwise():
    x = torch.randn(1, 3, 8)
    steps = {
        (loss, scale): gates_of(x, loss=loss, theta_scale=scale)[0].mean()
        for loss in ("sum", "mean", "half")
        for scale in (None, 0.5)
    }
    torch.testing.assert_close(steps["mean", None], 4 * steps["sum", None])  # a mean over a head of 4
    torch.testing.assert_close(steps["half", None], 2 * steps["sum", None])
    torch.testing.assert_close(steps["half", 0.5], steps["sum", 0.5])
