"""The delta rule with decay: chunks against the recurrence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recurrence_case import BATCH, HEADS, in_float32, in_parts, leaf, log_decays, results, streams, worst_error

from titans.ops import gated_delta_rule, naive_gated_delta_rule

FORMS = ["deltanet", "gated deltanet", "one head of keys"]


def arguments(form, time, largest_beta=1.0):
    """Keys of length 1, as the models have them, and betas at 0 and at their largest among the others."""
    given = streams(time, key_heads=1 if form == "one head of keys" else HEADS)
    given["k"] = leaf(F.normalize(given["k"].detach(), dim=-1))
    beta = (1.4 * torch.rand(BATCH, HEADS, time) - 0.2).clamp(0, 1)
    given["beta"] = leaf(largest_beta * beta)
    if form != "deltanet":
        given["log_decay"] = log_decays(time)
    return given


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("time", [1, 63, 1000])
def test_chunks_equal_the_recurrence(form, time):
    given = arguments(form, time)
    true = results(naive_gated_delta_rule, given)
    for how in ({}, {"chunk_size": 17}):
        errors = worst_error(results(gated_delta_rule, given, **how), true)
        assert max(errors.values()) < 1e-9, errors


def test_negative_eigenvalues():
    given = arguments("gated deltanet", 130, largest_beta=2.0)
    errors = worst_error(results(gated_delta_rule, given), results(naive_gated_delta_rule, given))
    assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_cut_anywhere_gives_the_whole(form):
    given = arguments(form, 150)
    y, end = gated_delta_rule(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        found, after = in_parts(gated_delta_rule, given, cuts)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_float32_agrees_with_float64(form):
    rounded = in_float32(arguments(form, 500))
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(gated_delta_rule, rounded), results(naive_gated_delta_rule, exact))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("strength", [1e-7, 20.0, 1e4])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(strength):
    given = arguments("gated deltanet", 200) | {"log_decay": -strength * torch.rand(BATCH, HEADS, 200)}
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(gated_delta_rule, rounded), results(naive_gated_delta_rule, exact))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("beta", torch.zeros(BATCH, HEADS, 9, 1), r"beta: expected \[2, 3, 9\]"),
        ("k", torch.zeros(BATCH, HEADS, 8, 6), r"k: expected \[2, 3 or 1, 9, 6\]"),
        ("log_decay", torch.full((BATCH, HEADS, 9), 0.5), "log_decay: has a value above 0"),
        ("state", torch.zeros(1, HEADS, 6, 5), r"state: expected \[2, 3, 6, 5\]"),
        ("chunk_size", 0, "chunk_size: 0 is below 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    given = in_float32(arguments("gated deltanet", 9))
    with pytest.raises(ValueError, match=message):
        gated_delta_rule(**given | {name: wrong})
