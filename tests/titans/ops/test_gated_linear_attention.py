"""Linear attention with decay: chunks against the recurrence."""

from __future__ import annotations

import pytest
import torch
from recurrence_case import D_K, HEADS, in_float32, in_parts, leaf, log_decays, results, streams, worst_error

from titans.ops import gated_linear_attention, naive_gated_linear_attention

#: What a decay is given for; and, for Mamba-2, one head of keys for all.
FORMS = ["linear attention", "retnet", "gla", "mamba2", "one key for all heads, by channel"]


def arguments(form, time):
    given = streams(time, key_heads=1 if form.startswith(("mamba2", "one")) else HEADS)
    if form == "retnet":
        given["log_decay"] = leaf(-torch.rand(1, HEADS, 1).expand(1, HEADS, time) * 0.1)
    elif form != "linear attention":
        given["log_decay"] = log_decays(time, *([D_K] if form.startswith(("gla", "one")) else []))
    return given


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("time", [1, 63, 1000])
def test_chunks_equal_the_recurrence(form, time):
    given = arguments(form, time)
    true = results(naive_gated_linear_attention, given)
    for how in ({}, {"chunk_size": 13}):
        errors = worst_error(results(gated_linear_attention, given, **how), true)
        assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_cut_anywhere_gives_the_whole(form):
    given = arguments(form, 150)
    y, end = gated_linear_attention(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        found, after = in_parts(gated_linear_attention, given, cuts)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_no_state_is_a_state_of_zeros(form):
    given = arguments(form, 70)
    with_zeros = gated_linear_attention(**given | {"state": torch.zeros_like(given["state"])})
    del given["state"]
    for found, true in zip(gated_linear_attention(**given), with_zeros, strict=True):
        assert torch.equal(found, true)


@pytest.mark.parametrize("form", FORMS)
def test_float32_agrees_with_float64(form):
    given = arguments(form, 500)
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(gated_linear_attention, rounded), results(gated_linear_attention, exact))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("strength", [1e-7, 1.0, 20.0, 1e4])
@pytest.mark.parametrize("channels", [[], [D_K]])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(strength, channels):
    """What two cumulative sums, or a quotient of two decays, would lose or overflow on."""
    given = streams(200) | {"log_decay": leaf(-strength * torch.rand(2, HEADS, 200, *channels))}
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(gated_linear_attention, rounded), results(naive_gated_linear_attention, exact))
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("q", torch.zeros(2, 2, 9, D_K), r"q: expected \[2, 3 or 1, 9, 6\]"),
        ("v", torch.zeros(2, HEADS, 0, 5), "v: a sequence has at least one token"),
        ("state", torch.zeros(2, HEADS, 5, D_K), r"state: expected \[2, 3, 6, 5\]"),
        ("log_decay", torch.zeros(2, HEADS, 8), r"log_decay: expected \[2 or 1, 3 or 1, 9\]"),
        ("log_decay", torch.full((2, HEADS, 9), 0.5), "log_decay: has a value above 0"),
        ("k", torch.zeros(2, HEADS, 9, D_K).half(), "k: is torch.float16"),
        ("chunk_size", 0, "chunk_size: 0 is below 1"),
        ("kernel", "cuda", "kernel: 'cuda' is not one of"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    given = in_float32(streams(9) | {"log_decay": -torch.rand(2, HEADS, 9, D_K)})
    with pytest.raises(ValueError, match=message):
        gated_linear_attention(**given | {name: wrong})
