"""The selective state space: chunks against the recurrence."""

from __future__ import annotations

import pytest
import torch
from recurrence_case import in_float32, leaf, results, worst_error

from titans.ops import naive_selective_scan, selective_scan

BATCH, CHANNELS, STATE = 2, 5, 3


def arguments(time):
    """Channels that keep nearly all and channels that forget within a token, some steps of 0, and a state."""
    delta = torch.rand(BATCH, time, CHANNELS) * 10 ** torch.empty(BATCH, time, CHANNELS).uniform_(-4, 1.5)
    return {
        "x": leaf(torch.randn(BATCH, time, CHANNELS)),
        "delta": leaf(delta * (torch.rand(BATCH, time, CHANNELS) > 0.1)),
        "a": leaf(-(10 ** torch.empty(CHANNELS, STATE).uniform_(-2, 1.5))),
        "b": leaf(torch.randn(BATCH, time, STATE)),
        "c": leaf(torch.randn(BATCH, time, STATE)),
        "state": leaf(torch.randn(BATCH, CHANNELS, STATE)),
    }


@pytest.mark.parametrize("time", [1, 63, 1000])
def test_chunks_equal_the_recurrence(time):
    given = arguments(time)
    true = results(naive_selective_scan, given)
    assert all(x.isfinite().all() for x in true.values())
    for how in ({}, {"chunk_size": 7}, {"chunk_size": 1}):
        errors = worst_error(results(selective_scan, given, **how), true)
        assert max(errors.values()) < 1e-10, errors


def test_a_sequence_cut_anywhere_gives_the_whole():
    given = arguments(150)
    whole, end = selective_scan(**given)
    lasting = ("x", "delta", "b", "c")
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        state, parts = given["state"], []
        for begin, stop in zip([0, *cuts], [*cuts, 150], strict=True):
            part = {name: given[name][:, begin:stop] for name in lasting}
            y, state = selective_scan(**part, a=given["a"], state=state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
        torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


def test_no_state_is_a_state_of_zeros():
    given = arguments(70)
    with_zeros = selective_scan(**given | {"state": torch.zeros_like(given["state"])})
    del given["state"]
    for found, true in zip(selective_scan(**given), with_zeros, strict=True):
        assert torch.equal(found, true)


def test_float32_agrees_with_float64():
    rounded = in_float32(arguments(500))
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(selective_scan, rounded), results(selective_scan, exact))
    assert max(errors.values()) < 1e-4, errors


def test_what_is_kept_for_the_backward_pass_does_not_hold_every_state():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        given = arguments(640)
        selective_scan(**given)
    assert sum(kept) < 1.2 * sum(x.numel() for x in given.values()) + 10 * BATCH * CHANNELS * STATE


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("x", torch.zeros(2, 5), "x: expected floating-point"),
        ("delta", torch.zeros(2, 8, 4).double(), r"delta: expected \[2, 8, 5\]"),
        ("a", torch.zeros(5).double(), r"a: expected \[channels, state\]"),
        ("c", torch.zeros(2, 8, 3), "c: is torch.float32"),
        ("state", torch.zeros(2, 5, 2).double(), r"state: expected \[2, 5, 3\]"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        selective_scan(**arguments(8) | {name: wrong})
    with pytest.raises(ValueError, match="chunk_size: 0"):
        selective_scan(**arguments(8), chunk_size=0)
