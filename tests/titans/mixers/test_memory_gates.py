from __future__ import annotations

import pytest
import torch

from titans.mixers.lmm.gates import MemoryGates
from titans.models.config import MemoryConfig, ModelConfig
from titans.ops import MemoryState, neural_memory


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


def test_a_ceiling_bounds_the_step_and_leaves_its_start():
    still, spread = torch.zeros(1, 3, 8), 100 * torch.randn(1, 400, 8)
    for form in ("linear", "log"):
        given = {"theta_scale": 0.1, "theta_ceiling": 4.0, "theta_range": form, "momentum": False}
        torch.testing.assert_close(gates_of(still, **given)[0], torch.full((1, 2, 3), 0.1 / 16))
        theta = gates_of(spread, std=1.0, **given)[0]
        assert theta.max().item() == pytest.approx(4.0 / 16)
        least = 0.0 if form == "linear" else 0.1**2 / 4.0 / 16
        assert theta.min().item() == pytest.approx(least, abs=1e-9)


def test_a_log_range_is_gone_through_by_equal_factors():
    memory = MemoryConfig(theta_scale=0.1, theta_ceiling=10.0, theta_range="log", gates_per_layer=False)
    gates = MemoryGates(ModelConfig(dim=8, n_heads=2, memory=memory), inputs={0: 4})
    logits = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]).logit().view(1, 5, 1).expand(1, 5, 6).double()
    theta, eta, _ = gates(logits, chunk_size=16)
    raw = (theta / (1 - eta))[0, 0]
    assert torch.allclose(raw[1:] / raw[:-1], torch.full((4,), 100 ** (2 * 0.2), dtype=torch.float64))
    assert raw[2].item() == pytest.approx(0.1 / 16)


def test_twice_the_start_is_the_usual_ceiling():
    x = torch.randn(1, 40, 8)
    usual, said = (gates_of(x, std=0.3, theta_scale=0.3, theta_ceiling=ceiling)[0] for ceiling in (None, 0.6))
    torch.testing.assert_close(usual, said)


@pytest.mark.parametrize(("loss", "slope"), [("sum", 2), ("half", 1), ("mean", 2 / 4)])
def test_the_steps_of_a_chunk_stay_within_the_budget_and_small_ones_stay_as_they_are(loss, slope):
    x, given = torch.randn(1, 40, 8), {"loss": loss, "momentum": False, "std": 1.0}
    bounded, free = (gates_of(x, theta_scale=100.0, theta_budget=budget, **given)[0] for budget in (0.7, None))
    for chunk in bounded.split(16, -1):
        assert slope * chunk.sum(-1).max() < 0.7 * (1 + 1e-6)
        assert chunk.min() >= 0
    assert slope * free.sum(-1).min() > 0.7
    bounded, free = (gates_of(x, theta_scale=1e-4, theta_budget=budget, **given)[0] for budget in (0.7, None))
    torch.testing.assert_close(bounded, free, rtol=1e-3, atol=0)


def test_the_first_step_does_not_depend_on_the_window_and_its_gates_start_where_they_are_set():
    x = torch.randn(1, 3, 8)
    plain = gates_of(x)[0]
    for window, bias in ((2, 0.0), (6, -1.0)):
        memory = MemoryConfig(window=window, gamma_bias=bias, gates_per_layer=False)
        gates = MemoryGates(ModelConfig(dim=8, n_heads=2, memory=memory), inputs={0: 4})
        gamma = gates.gamma(gates.logits(x))
        assert gamma.shape == (1, 2, 3, window)
        torch.testing.assert_close(gamma, torch.full_like(gamma, torch.tensor(bias).sigmoid()))
        torch.testing.assert_close(gates(gates.logits(x), chunk_size=16)[0] * gamma.sum(-1), plain)


def test_a_window_applies_no_more_of_a_chunks_steps_than_the_budget():
    x, memory = torch.randn(1, 16, 8), MemoryConfig(
        window=6, gamma_bias=3.0, theta_scale=100.0, theta_budget=0.7, momentum=False, gates_per_layer=False
    )  # fmt: skip
    gates = MemoryGates(ModelConfig(dim=8, n_heads=2, memory=memory), inputs={0: 4})
    logits = gates.logits(x)
    applied = gates(logits, chunk_size=16)[0] * gates.gamma(logits).sum(-1)
    assert 0.6 < 2 * applied.sum(-1).min() <= 2 * applied.sum(-1).max() < 0.7 * (1 + 1e-6)


def test_the_budget_looks_at_no_later_token_and_begins_anew_with_each_chunk():
    x = torch.randn(1, 40, 8)
    given = {"theta_scale": 3.0, "theta_budget": 0.5, "std": 1.0}
    whole = gates_of(x, **given)[0]
    torch.testing.assert_close(gates_of(x[:, :23], **given)[0], whole[..., :23])
    torch.testing.assert_close(gates_of(x[:, 16:], **given)[0], whole[..., 16:])


def test_with_constant_keys_and_a_budget_of_1_a_linear_memory_does_not_overshoot():
    """What it holds for the key goes to the value from below, however large the step would be."""
    x, dim = torch.zeros(1, 48, 8), 4
    key, value = torch.nn.functional.normalize(torch.randn(1, 1, 1, dim), dim=-1), torch.ones(1, 1, 1, dim)
    k, v = key.expand(1, 2, 48, dim), value.expand(1, 2, 48, dim)
    found = {}
    for budget in (1.0, None):
        theta, _, _ = gates_of(x, theta_scale=8.0, momentum=False, forgetting=False, theta_budget=budget)
        state = MemoryState.initial(depth=1, expansion=1, dim=dim, batch=1, heads=2)
        state = state._replace(weights=tuple(torch.zeros_like(w) for w in state.weights))
        y, _ = neural_memory(k, k, v, theta, None, None, state, chunk_size=16)
        found[budget] = y
    assert found[1.0].max() <= 1 + 1e-5
    assert found[1.0][:, :, -1].min() > 0.9
    assert found[None].max() > 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"theta_ceiling": 1.0}, "theta_ceiling: needs theta_scale"),
        ({"theta_ceiling": 0.1, "theta_scale": 0.1}, r"theta_ceiling: 0\.1 is not above theta_scale"),
        ({"theta_range": "log", "theta_scale": 0.0}, "theta_range: log needs a theta_scale above 0"),
        ({"theta_budget": 0.0}, r"theta_budget: 0\.0 is not above 0"),
        ({"theta_budget": 1.0, "theta_damping": False}, "theta_budget: needs theta_damping: true"),
    ],
)
def test_a_step_that_cannot_be_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        MemoryConfig(**values)
