"""The product of tokens with a matrix: equal to torch's own up to rounding, and the same bits twice."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from titans.mixers.parts import Linear
from titans.ops.linear import FEWEST, linear

#: Leading sizes, inputs and outputs, on both sides of `FEWEST` and with odd ones.
SHAPES = [((4, 256), 128, 128), ((1, 1024), 344, 7), ((3, 5, 91), 129, 65), ((2048,), 16, 33), ((1, 3), 128, 12)]


def arguments(leading: tuple[int, ...], inputs: int, outputs: int, biased: bool) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(*leading, inputs), (outputs, inputs), *([(outputs,)] if biased else [])]
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def results(form, given: list[Tensor]) -> list[Tensor]:
    """Return the output, and the gradients of the sum of its sines."""
    y = form(*given)
    return [y, *torch.autograd.grad(y.sin().sum(), given)]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("leading", "inputs", "outputs"), SHAPES)
def test_equals_torch_up_to_rounding(leading, inputs, outputs, biased):
    given = arguments(leading, inputs, outputs, biased)
    true = results(F.linear, [x.detach().double().requires_grad_() for x in given])
    ours, torch_s = results(linear, given), results(F.linear, given)
    for exact, x, y in zip(true, ours, torch_s, strict=True):
        assert (x - exact).norm() <= 2 * (y - exact).norm() + 1e-6 * exact.norm()


def test_float64_is_torch_s_own_and_passes_gradcheck():
    x, w, b = (x.detach().double().requires_grad_() for x in arguments((3, 4), 5, 2, True))
    assert torch.equal(linear(x, w, b), F.linear(x, w, b))
    assert torch.autograd.gradgradcheck(linear, (x, w, b))


def test_the_same_bits_twice():
    given = arguments((4, 256), 128, 344, True)
    assert all(torch.equal(a, b) for a, b in zip(results(linear, given), results(linear, given), strict=True))


def test_can_be_differentiated_twice():
    x, w = arguments((4, 256), 128, 128, False)

    def second(form) -> Tensor:
        (by_x,) = torch.autograd.grad(form(x, w).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(by_x.square().sum(), w)[0]

    expected = second(F.linear)
    assert (second(linear) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch's BLAS is not MKL")
@pytest.mark.parametrize(("kernel", "expected"), [("auto", True), ("cpu", True), ("torch", False)])
def test_a_module_computes_with_the_kernel_it_is_told(kernel, expected):
    layer = Linear(64, 64)
    layer.use_kernel(kernel)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        layer(torch.randn(FEWEST // 64**2, 64))
    assert ("mkldnn::_linear_pointwise" in {event.key for event in seen.key_averages()}) == expected
