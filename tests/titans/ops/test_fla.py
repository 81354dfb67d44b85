"""The kernels of flash-linear-attention under the operators that are asked to run on them."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from delta_rule_case import RULES
from delta_rule_case import arguments as of_rule
from recurrence_case import in_float32, results, streams, worst_error

from titans.ops import gated_delta_rule, gated_linear_attention
from titans.ops.arguments import warn_unsupported
from titans.ops.fla import unsupported


def arguments(form, time=100):
    if form in RULES:
        given = of_rule(form, time)
        return in_float32(given | {"log_decay": -0.6 * torch.rand_like(given["log_decay"])})
    given = streams(time)
    given["k"] = F.normalize(given["k"], dim=-1)
    if "delta" in form:
        given["beta"] = torch.rand(2, 3, time)
    if form == "gla":
        given["log_decay"] = -torch.rand(2, 3, time, 6)
    elif form in ("mamba2", "gated delta"):
        given["log_decay"] = -torch.rand(2, 3, time)
    return in_float32(given)


FORMS = ["linear attention", "mamba2", "gla", "delta", "gated delta", *RULES]


def operator(form):
    if form in RULES:
        return RULES[form][0]
    return gated_delta_rule if "delta" in form else gated_linear_attention


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_they_do_not_support_runs_in_torch_with_one_warning(form):
    given = arguments(form)
    warn_unsupported.cache_clear()
    with pytest.warns(UserWarning, match=r"runs in torch instead: its tensors are on cpu") as said:
        found = [operator(form)(**given, kernel="fla") for _ in range(2)]
    assert len(said) == 1
    for y, end in found:
        true = operator(form)(**given)
        assert torch.equal(y, true[0])
        assert torch.equal(end, true[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.skipif(importlib.util.find_spec("fla") is None, reason="needs flash-linear-attention")
@pytest.mark.parametrize("form", [form for form in FORMS if form != "gated_delta_product"])
def test_the_kernels_equal_torch_on_a_gpu(form):
    """Outputs, end state and every gradient, to what TF32 leaves."""
    given = {name: x.detach().cuda().requires_grad_() for name, x in arguments(form).items()}
    assert unsupported(given["v"], given["k"].shape[-1]) is None
    errors = worst_error(*(results(operator(form), given, kernel=kernel) for kernel in ("fla", "torch")))
    assert max(errors.values()) < 1e-2, errors
