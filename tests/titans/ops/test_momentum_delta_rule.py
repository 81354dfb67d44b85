"""The delta rule with momentum: chunks against the recurrence, and against a linear memory of Titans."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recurrence_case import (
    BATCH,
    D_K,
    D_V,
    HEADS,
    in_float32,
    in_parts,
    leaf,
    log_decays,
    results,
    streams,
    worst_error,
)

from titans.ops import MemoryState, momentum_delta_rule, naive_momentum_delta_rule, neural_memory


def arguments(time):
    """Momentum and decay such that nothing grows, among them 0 and 1."""
    given, share = streams(time), torch.rand(BATCH, HEADS, time, dtype=torch.float64)
    k = F.normalize(given["k"].detach(), dim=-1)
    return given | {
        "k": leaf(k.clone()),
        "p": leaf(0.9 * k),
        "eta": leaf(torch.rand(BATCH, HEADS, time)),
        "beta": leaf(share.clone()),
        "log_momentum": log_decays(time),
        "log_decay": leaf((1 - share).log()),
        "state": leaf(torch.randn(BATCH, HEADS, 2, D_K, D_V)),
    }


@pytest.mark.parametrize("time", [1, 63, 300])
def test_chunks_equal_the_recurrence(time):
    given = arguments(time)
    true = results(naive_momentum_delta_rule, given)
    for how in ({}, {"chunk_size": 7}):
        errors = worst_error(results(momentum_delta_rule, given, **how), true)
        assert max(errors.values()) < 1e-9, errors


def test_a_sequence_cut_anywhere_gives_the_whole():
    given = arguments(150)
    y, end = momentum_delta_rule(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        found, after = in_parts(momentum_delta_rule, given, cuts)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("strength", [1e-7, 1.0, 1e4])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(strength):
    given = arguments(150)
    for name in ("log_momentum", "log_decay"):
        given[name] = leaf(given[name].detach().clamp(min=-1) - strength * torch.rand(BATCH, HEADS, 150))
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(momentum_delta_rule, rounded), results(naive_momentum_delta_rule, exact))
    assert max(errors.values()) < 1e-4, errors


def test_it_is_a_linear_memory_of_titans_at_chunk_1():
    given = arguments(70)
    q, k, v, eta, state = (given[name].detach() for name in ("q", "k", "v", "eta", "state"))
    k, v = k[..., :D_V] / 2, v[..., :D_V]  # the memory is as wide as it is high
    q, state = q[..., :D_V], state[..., :D_V, :]
    momentum, forgetting = (0.9 * torch.rand(2, BATCH, HEADS, 70, dtype=torch.float64)).unbind()
    s, m = state.unbind(2)
    one, log_decay = torch.ones_like(eta), (1 - forgetting).log()
    ours, end = momentum_delta_rule(q, k, v, k, eta, one, momentum.log(), log_decay, state)
    start = MemoryState((s.mT,), (m.mT,))
    y, memory = neural_memory(q, k, v, eta, momentum, forgetting, start, chunk_size=1, loss="half")
    for found, true in ((ours, y), (end[:, :, 0], memory.weights[0].mT), (end[:, :, 1], memory.momentum[0].mT)):
        torch.testing.assert_close(found, true, rtol=0, atol=1e-10)


def test_no_state_is_a_state_of_zeros():
    given = arguments(70)
    zeros = torch.zeros_like(given.pop("state"))
    for form in (momentum_delta_rule, naive_momentum_delta_rule):
        for found, true in zip(form(**given), form(**given, state=zeros), strict=True):
            assert torch.equal(found, true)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("p", torch.zeros(BATCH, HEADS, 9, D_V), r"p: expected \[2, 3, 9, 6\]"),
        ("eta", torch.zeros(BATCH, HEADS, 9, 1), r"eta: expected \[2, 3, 9\]"),
        ("log_momentum", torch.full((BATCH, HEADS, 9), 0.5), "log_momentum: has a value above 0"),
        ("state", torch.zeros(BATCH, HEADS, D_K, D_V), r"state: expected \[2, 3, 2, 6, 5\]"),
        ("chunk_size", 0, "chunk_size: 0 is below 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        momentum_delta_rule(**in_float32(arguments(9)) | {name: wrong})
