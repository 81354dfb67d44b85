"""The functions between the products of a model in C: equal to torch, at awkward shapes, the same bits twice."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor

from titans.compiler import c_compiler
from titans.ops import pointwise
from titans.ops.pointwise import (
    Convolution,
    convolve,
    plain_convolve,
    plain_rms_norm,
    plain_silu_gate,
    rms_norm,
    silu_gate,
)

pytestmark = pytest.mark.skipif(c_compiler() is None, reason="there is no C compiler")

Form = partial[Tensor]
#: Batch, time, heads and head width: on both sides of a vector's width.
SIZES = [(4, 256, 4, 32), (1, 7, 3, 5), (2, 3, 1, 33), (3, 65, 2, 16), (2, 1, 2, 1)]


@pytest.fixture(autouse=True)
def one_thread_and_no_call_too_small(monkeypatch: pytest.MonkeyPatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(pointwise, "FEWEST", 1)
    yield
    torch.set_num_threads(before)


def cases() -> dict[str, tuple[Form, Form, list[tuple[int, ...]]]]:
    """Return each function, its form in torch, and the shapes of its two tensors."""
    found: dict[str, tuple[Form, Form, list[tuple[int, ...]]]] = {}
    for batch, time, heads, dim in SIZES:
        name, channels = f"{batch}x{time}x{heads}x{dim}", heads * dim
        norm = {"eps": 1e-5}
        shapes = [(batch, time, channels), (channels,)]
        found[f"rms_norm {name}"] = partial(rms_norm, **norm), partial(plain_rms_norm, **norm), shapes
        found[f"silu_gate {name}"] = partial(silu_gate), partial(plain_silu_gate), 2 * shapes[:1]
        for taps, silu, unit, streams in itertools.product((2, 4, 5), (True, False), (True, False), (True, False)):
            form = {"form": Convolution(heads, (taps - 1) * streams, silu, unit)}
            shapes = [(batch, time + (taps - 1) * streams, channels), (channels, taps)]
            what = f"convolve {name} taps {taps} silu {silu} unit {unit} streams {streams}"
            found[what] = partial(convolve, **form), partial(plain_convolve, **form), shapes
    return found


CASES = cases()


def arguments(shapes: list[tuple[int, ...]], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def results(form: Form, given: list[Tensor]) -> list[Tensor]:
    """Return the output, and the gradients of the sum of its sines."""
    y = form(*given)
    return [y, *torch.autograd.grad(y.sin().sum(), given)]


def is_in_c(form: Form, given: list[Tensor]) -> bool:
    """Return whether a function of C has computed the output, by the name of its node on the tape."""
    return "Pointwise" in type(form(*given).grad_fn).__name__


@pytest.mark.parametrize("name", CASES)
def test_equals_its_form_in_torch(name: str):
    ours, plain, shapes = CASES[name]
    given = arguments(shapes)
    assert is_in_c(ours, given)
    for x, y in zip(results(ours, given), results(plain, given), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in CASES if "4x256" in name])
def test_float32_is_as_near_to_float64_as_torch_is(name: str):
    ours, plain, shapes = CASES[name]
    given = arguments(shapes, torch.float32)
    true = results(plain, [x.detach().double().requires_grad_() for x in given])
    for exact, x, y in zip(true, results(ours, given), results(plain, given), strict=True):
        assert (x - exact).norm() <= 3 * (y - exact).norm() + 1e-6 * exact.norm()


@pytest.mark.parametrize("name", [name for name in CASES if "4x256" in name])
def test_the_same_bits_twice(name: str):
    ours, _, shapes = CASES[name]
    given = arguments(shapes, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(results(ours, given), results(ours, given), strict=True))


@pytest.mark.parametrize("name", [name for name in CASES if "1x7x3x5" in name])
def test_gradients_are_the_differences_and_are_differentiated_again(name: str):
    ours, _, shapes = CASES[name]
    given = arguments(shapes)
    assert torch.autograd.gradcheck(ours, given)
    assert torch.autograd.gradgradcheck(ours, given)


def test_vectors_of_zeros_and_large_ones():
    """Zeros have no direction, and a SiLU's exponential overflows beyond 88."""
    x = torch.tensor([0.0, 0.0, -200.0, 200.0, 1e-20, 90.0, -90.0, 3.0]).repeat(2, 4, 1).requires_grad_()
    weight = torch.ones(8, 2, requires_grad=True)
    form = Convolution(heads=4, before=0, silu=True, unit=True)
    for a, b in zip(
        results(partial(convolve, form=form), [x, weight]), results(partial(plain_convolve, form=form), [x, weight]),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_what_is_not_a_number_stays_so():
    x = torch.full((2, 8), float("nan"), requires_grad=True)
    assert silu_gate(x, torch.ones(2, 8)).isnan().all()
    assert rms_norm(x, torch.ones(8), 1e-5).isnan().all()


def test_several_threads_and_other_types_of_numbers_run_in_torch():
    a = torch.randn(4, 8, requires_grad=True)
    assert is_in_c(partial(silu_gate), [a, a])
    assert not is_in_c(partial(silu_gate), [a.bfloat16(), a.bfloat16()])
    torch.set_num_threads(2)
    assert not is_in_c(partial(silu_gate), [a, a])
