"""The mesa layer: conjugate gradients by chunks against exact solutions, token by token."""

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

from titans.ops import mesa, naive_mesa

ENOUGH = 2 * D_K  # iterations; d_k would be, without rounding


def arguments(time, slow=False):
    given = streams(time)
    square = torch.randn(BATCH, HEADS, D_K, D_K)
    return given | {
        "k": leaf(F.normalize(given["k"].detach(), dim=-1)),
        "beta": leaf((1.4 * torch.rand(BATCH, HEADS, time) - 0.2).clamp(0, 1)),
        "log_decay": leaf(-0.01 * torch.rand(BATCH, HEADS, time)) if slow else log_decays(time),
        "ridge": leaf(0.25 + torch.rand(HEADS, D_K)),
        "state": leaf(torch.cat((square @ square.mT, torch.randn(BATCH, HEADS, D_K, D_V)), -1)),
    }


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("time", [1, 63, 130])
def test_chunks_equal_the_exact_solutions(time, slow):
    given = arguments(time, slow)
    true = results(naive_mesa, given)
    for chunk_size in (64, 7):
        errors = worst_error(results(mesa, given, iterations=ENOUGH, chunk_size=chunk_size), true)
        assert max(errors.values()) < 1e-9, errors


def test_the_error_falls_with_the_iterations():
    given = arguments(100, slow=True)
    true = results(naive_mesa, given)
    errors = [worst_error(results(mesa, given, iterations=n), true)["y"] for n in (1, 3, 5, ENOUGH)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.01
    assert errors[-1] < 1e-9


def test_a_sequence_cut_anywhere_gives_the_whole():
    given = arguments(150)
    ridge = given.pop("ridge")

    def operator(q, k, v, state, beta, log_decay):
        return mesa(q, k, v, beta, ridge, log_decay, state, iterations=ENOUGH)

    y, end = operator(**given)
    for cuts in ([1], [149], [64, 128], [7, 13, 14, 99]):
        found, after = in_parts(operator, given, cuts)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("strength", [1e-7, 1.0, 1e4])
def test_float32_is_exact_and_finite_with_decays_of_any_strength(strength):
    given = arguments(150) | {"log_decay": leaf(-strength * torch.rand(BATCH, HEADS, 150))}
    rounded = in_float32(given)
    exact = {name: x.detach().double().requires_grad_() for name, x in rounded.items()}
    errors = worst_error(results(mesa, rounded), results(naive_mesa, exact))
    assert max(errors.values()) < 1e-4, errors


def test_no_state_is_a_state_of_zeros():
    given = arguments(70)
    zeros = torch.zeros_like(given.pop("state"))
    for form in (mesa, naive_mesa):
        for found, true in zip(form(**given), form(**given, state=zeros), strict=True):
            assert torch.equal(found, true)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("ridge", torch.ones(BATCH, HEADS, D_K), r"ridge: expected \[3, 6\]"),
        ("beta", torch.ones(BATCH, HEADS, 9, 1), r"beta: expected \[2, 3, 9\]"),
        ("state", torch.zeros(BATCH, HEADS, D_K, D_V), r"state: expected \[2, 3, 6, 11\]"),
        ("iterations", 0, "iterations: 0 is below 1"),
        ("chunk_size", 0, "chunk_size: 0 is below 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        mesa(**in_float32(arguments(9)) | {name: wrong})
