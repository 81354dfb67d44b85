"""Log-linear attention: chunks against the recurrence, from any position, and against the formula over all pairs."""

from __future__ import annotations

import itertools

import pytest
import torch
from recurrence_case import BATCH, D_K, D_V, HEADS, in_float32, leaf, log_decays, results, streams, worst_error

from titans.ops import gated_linear_attention, log_linear_attention, naive_log_linear_attention


def arguments(time, levels, position=0):
    """A state has tokens in the levels of the bits that are set in the position."""
    state = torch.zeros(BATCH, HEADS, levels, D_K, D_V)
    for bit in range(position.bit_length()):
        if position >> bit & 1:
            state[:, :, min(bit + 1, levels - 1)] = torch.randn(BATCH, HEADS, D_K, D_V)
    return streams(time) | {
        "scales": leaf(torch.rand(BATCH, HEADS, time, levels)),
        "log_decay": log_decays(time),
        "state": leaf(state) if position else None,
    }


def of_occupied(found, state):
    """Without the gradient by the levels that have no tokens, which only the recurrence reads."""
    name = "d/d state"
    return found if state is None else found | {name: found[name] * (state != 0)}


@pytest.mark.parametrize("levels", [2, 5, 15])
@pytest.mark.parametrize(("time", "position"), [(1, 0), (63, 0), (5, 3), (130, 37), (200, 64)])
def test_chunks_equal_the_recurrence(time, position, levels):
    given = arguments(time, levels, position)
    state = given["state"]
    true = of_occupied(results(naive_log_linear_attention, given, position=position), state)
    for how in ({}, {"chunk_size": 8}):
        found = of_occupied(results(log_linear_attention, given, position=position, **how), state)
        errors = worst_error(found, true)
        assert max(errors.values()) < 1e-9, errors


def test_a_sequence_cut_anywhere_gives_the_whole():
    given = arguments(150, 6)
    del given["state"]
    y, end = log_linear_attention(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        state, parts = None, []
        for begin, after in itertools.pairwise([0, *cuts, 150]):
            part = {name: x[:, :, begin:after] for name, x in given.items()}
            found, state = log_linear_attention(**part, state=state, position=begin)
            parts.append(found)
        torch.testing.assert_close(torch.cat(parts, 2), y, rtol=0, atol=1e-10)
        torch.testing.assert_close(state, end, rtol=0, atol=1e-10)


def test_it_weighs_each_pair_of_tokens_by_its_level():
    """Over all pairs: the level of i at t is the number of bits of t XOR i, at most the last level."""
    given = {name: x.detach() for name, x in arguments(41, 5).items() if x is not None}
    y = torch.zeros_like(given["v"])
    for t, i in itertools.product(range(41), repeat=2):
        if i <= t:
            weight = given["scales"][:, :, t, min((t ^ i).bit_length(), 4)]
            decay = given["log_decay"][:, :, i + 1 : t + 1].sum(-1).exp()
            score = (given["q"][:, :, t] * given["k"][:, :, i]).sum(-1)
            y[:, :, t] += (weight * decay * score).unsqueeze(-1) * given["v"][:, :, i]
    torch.testing.assert_close(log_linear_attention(**given)[0], y, rtol=0, atol=1e-12)


def test_equal_scales_make_it_linear_attention():
    given = arguments(130, 7)
    del given["state"]
    ones = torch.ones_like(given.pop("scales"))
    y, end = log_linear_attention(**given, scales=ones)
    true, state = gated_linear_attention(**given)
    torch.testing.assert_close(y, true, rtol=0, atol=1e-12)
    torch.testing.assert_close(end.sum(2), state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-7, 1.0, 1e4])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(strength):
    given = arguments(150, 7) | {"log_decay": leaf(-strength * torch.rand(BATCH, HEADS, 150))}
    del given["state"]
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(log_linear_attention, rounded), results(naive_log_linear_attention, exact))
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("scales", torch.ones(BATCH, HEADS, 9), r"scales: expected \[2, 3, 9, 9\]"),
        ("scales", torch.ones(BATCH, HEADS, 9, 1), "scales: has less than 2 levels"),
        ("state", torch.zeros(BATCH, HEADS, D_K, D_V), r"state: expected \[2, 3, 4, 6, 5\]"),
        ("position", -1, "position: -1 is below 0"),
        ("chunk_size", 0, "chunk_size: 0 is below 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    given = {name: x for name, x in arguments(9, 4).items() if x is not None}
    with pytest.raises(ValueError, match=message):
        log_linear_attention(**in_float32(given) | {name: wrong})
