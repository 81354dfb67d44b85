"""KDA, Gated DeltaNet-2, Gated DeltaProduct, Comba and RWKV-7: chunks against the papers' recurrences."""

from __future__ import annotations

import pytest
import torch
from delta_rule_case import RULES, arguments
from recurrence_case import BATCH, D_K, D_V, HEADS, in_float32, in_parts, leaf, results, worst_error

from titans import ops


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("time", [1, 63, 300])
def test_chunks_equal_the_recurrence(rule, time):
    fast, naive = RULES[rule]
    given = arguments(rule, time)
    true = results(naive, given)
    for how in ({}, {"chunk_size": 7}):
        errors = worst_error(results(fast, given, **how), true)
        assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize("rule", RULES)
def test_a_sequence_cut_anywhere_gives_the_whole(rule):
    given, (fast, _) = arguments(rule, 150), RULES[rule]
    y, end = fast(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        found, after = in_parts(fast, given, cuts)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("strength", [1e-7, 1.0, 20.0, 1e4])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(rule, strength):
    given, (fast, naive) = arguments(rule, 150), RULES[rule]
    given["log_decay"] = leaf(-strength * torch.rand_like(given["log_decay"]))
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(fast, rounded), results(naive, exact))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("rule", RULES)
def test_no_state_is_a_state_of_zeros(rule):
    given, (fast, naive) = arguments(rule, 70), RULES[rule]
    zeros = torch.zeros_like(given.pop("state"))
    for form in (fast, naive):
        for found, true in zip(form(**given), form(**given, state=zeros), strict=True):
            assert torch.equal(found, true)


def test_one_step_of_delta_product_is_the_gated_delta_rule():
    given = arguments("gated_delta_product", 70)
    one = {name: x[:, :, :, :1] if name in ("k", "v", "beta") else x for name, x in given.items()}
    rule = {name: x[:, :, :, 0] if name in ("k", "v", "beta") else x for name, x in given.items()}
    for found, true in zip(ops.gated_delta_product(**one), ops.gated_delta_rule(**rule), strict=True):
        torch.testing.assert_close(found, true, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "name", "wrong", "message"),
    [
        ("kda", "beta", torch.zeros(BATCH, HEADS, 9, 1), r"beta: expected \[2, 3, 9\]"),
        ("kda", "log_decay", torch.zeros(BATCH, HEADS, 9), r"log_decay: expected \[2 or 1, 3 or 1, 9, 6\]"),
        ("kda", "log_decay", torch.full((BATCH, HEADS, 9, D_K), 0.5), "log_decay: has a value above 0"),
        ("gated_delta_rule_2", "write", torch.zeros(BATCH, HEADS, 9, D_K), r"write: expected \[2, 3, 9, 5\]"),
        ("gated_delta_rule_2", "erase", torch.zeros(BATCH, HEADS, 9, D_V), r"erase: expected \[2, 3, 9, 6\]"),
        ("gated_delta_product", "k", torch.zeros(BATCH, HEADS, 9, D_K), r"k, v: expected \[batch, heads, time, steps"),
        ("gated_delta_product", "v", torch.zeros(BATCH, HEADS, 9, 2, D_V), r"v: expected \[2, 3, 9, 3, 5\]"),
        ("comba", "p", torch.zeros(BATCH, HEADS, 8, D_K), r"p: expected \[2, 3, 9, 6\]"),
        ("comba", "chunk_size", 0, "chunk_size: 0 is below 1"),
        ("rwkv7", "rate", torch.zeros(BATCH, HEADS, 9), r"rate: expected \[2, 3, 9, 6\]"),
        ("rwkv7", "state", torch.zeros(1, HEADS, D_K, D_V), r"state: expected \[2, 3, 6, 5\]"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(rule, name, wrong, message):
    given = in_float32(arguments(rule, 9))
    with pytest.raises(ValueError, match=message):
        RULES[rule][0](**given | {name: wrong})
