"""The window of the Omega rule: which writes a token's step takes, and where it meets other switches."""

from __future__ import annotations

import warnings

import pytest
import torch
from memory_case import memory_arguments, results, worst_error

from titans.ops import MemoryState, naive_neural_memory, neural_memory
from titans.ops.arguments import warn_unsupported
from titans.ops.neural_memory.window import band, with_halo


def windowed(time: int, window: int, depth: int = 2) -> dict:
    """Arguments of a call with a window."""
    arguments = memory_arguments(time, depth)
    return arguments | {"window": window, "gamma": torch.rand(2, 2, time, window, dtype=torch.float64)}


def of_part(arguments: dict, part: slice) -> dict:
    """The tokens of a part of a call, without a state."""
    names = ("q", "k", "v", "theta", "eta", "alpha", "gamma")
    return {name: arguments[name][:, :, part] for name in names} | {"window": arguments["window"]}


def test_gates_stand_where_their_writes_are():
    gamma = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])  # of two tokens; the halo has two more
    expected = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 6.0, 5.0, 4.0]])
    assert torch.equal(band(gamma), expected)


def test_before_the_first_token_there_are_zeros_and_thresholds_above_zero():
    x, bounds = torch.full((1, 1, 2, 3), 7.0), torch.full((1, 1, 2), 7.0)
    k, v, threshold = with_halo((x, x, bounds), (x[:, :, 1:], x[:, :, 1:], bounds[:, :, 1:]), 4)
    assert k[0, 0, :, 0].tolist() == v[0, 0, :, 0].tolist() == [0, 0, 7, 7, 7]
    assert threshold[0, 0, :, 0].tolist() == [1, 1, 7, 7, 7]


def test_the_step_of_a_linear_memory_by_hand():
    """Two tokens at width 1, window 2: W = 0, k = v = 1, theta 0.1, and gates (0.5, 0.25) of the second token."""
    one = torch.ones(1, 1, 2, 1, dtype=torch.float64)
    zero = (torch.zeros(1, 1, 1, 1, dtype=torch.float64),)
    gamma = torch.tensor([[[[1.0, 1.0], [0.5, 0.25]]]], dtype=torch.float64)
    for operator in (neural_memory, naive_neural_memory):
        y, _ = operator(one, one, one, 0.1 * one[..., 0], None, None, MemoryState(zero, zero), 2, window=2, gamma=gamma)
        # first -0.1 x 1 x 2 (0 - 1); then, at the chunk's start still, -0.1 x (0.5 + 0.25) x -2 on top of it
        torch.testing.assert_close(y.flatten(), torch.tensor([0.2, 0.35], dtype=torch.float64))


def test_gates_that_are_open_for_the_own_token_alone_are_no_window():
    arguments, alone = memory_arguments(11, 2), torch.eye(3, dtype=torch.float64)[0].repeat(2, 2, 11, 1)
    found = results(neural_memory, arguments | {"gamma": alone.requires_grad_()}, chunk_size=4, window=3)
    plain = results(neural_memory, arguments, chunk_size=4)
    assert max(worst_error({name: found[name] for name in plain}, plain).values()) < 1e-12


@pytest.mark.parametrize("cut", [4, 8])
def test_parts_that_are_given_the_tokens_before_them_are_the_whole(cut: int):
    arguments = windowed(13, 6)
    whole, end = neural_memory(**arguments, chunk_size=4)
    y, state = neural_memory(**of_part(arguments, slice(0, cut)), state=arguments["state"], chunk_size=4)
    recent = tuple(arguments[name][:, :, max(0, cut - 5) : cut] for name in "kv")
    rest, after = neural_memory(**of_part(arguments, slice(cut, None)), state=state, chunk_size=4, recent=recent)
    torch.testing.assert_close(torch.cat((y, rest), 2), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(after, end, rtol=0, atol=1e-12)


def test_a_kernel_without_windows_says_so_and_torch_runs_the_call():
    arguments = windowed(5, 2)
    expected = neural_memory(**arguments)[0]
    warn_unsupported.cache_clear()  # it warns once
    with pytest.warns(UserWarning, match="a window or Muon"):
        assert torch.equal(neural_memory(**arguments, kernel="cpu")[0], expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        neural_memory(**arguments, kernel="torch")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 0}, "window: 0 is below 1"),
        ({"window": 2}, "gamma: is for a window above 1, which needs it"),
        ({"gamma": torch.ones(2, 2, 5, 1, dtype=torch.float64)}, "gamma: is for a window above 1"),
        ({"window": 3, "gamma": torch.ones(2, 2, 5, 2, dtype=torch.float64)}, r"gamma: expected \[2, 2, 5, 3\]"),
        ({"window": 2, "gamma": torch.full((2, 2, 5, 2), 1.5, dtype=torch.float64)}, "gamma: has a value above 1"),
        ({"recent": (torch.ones(2, 2, 1, 6, dtype=torch.float64),) * 2}, "recent: expected the 2 tensors"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict, message: str):
    for operator in (neural_memory, naive_neural_memory):
        with pytest.raises(ValueError, match=message):
            operator(**memory_arguments(5, 1), **given)


@pytest.mark.parametrize(("tokens", "count"), [(3, 2), (1, 1)])
def test_what_came_before_is_checked(tokens: int, count: int):
    recent = (torch.ones(2, 2, tokens, 6, dtype=torch.float64),) * count
    with pytest.raises(ValueError, match="recent: expected the 2 tensors that are written, of at most 2 tokens"):
        neural_memory(**windowed(5, 3), recent=recent)
