"""A linear memory without momentum at chunk 1 is the gated delta rule of arXiv 2412.06464."""

from __future__ import annotations

import pytest
import torch
from gated_delta import as_delta_rule
from memory_case import leaves, memory_arguments, worst_error

from titans.ops import naive_gated_delta_rule, naive_neural_memory, neural_memory


def gated_delta_rule(state, decay, **rule):
    """Run the rule's reference implementation, whose state is the transpose of the memory's weights."""
    y, end = naive_gated_delta_rule(**rule, log_decay=decay.log(), state=state.mT)
    return y, end.mT


def with_gradients(y, end, arguments):
    """The outputs, the end state, and the gradient of a fixed random projection of both by every argument."""
    named = leaves(arguments)
    del named["momentum[0]"]
    generator = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in (y, end))
    gradients = torch.autograd.grad(total, list(named.values()))
    return {"y": y, "end": end} | dict(zip(named, gradients, strict=True))


@pytest.mark.parametrize("operator", [neural_memory, naive_neural_memory])
@pytest.mark.parametrize("time", [1, 63, 130])
def test_the_memory_equals_the_gated_delta_rule(operator, time):
    arguments = memory_arguments(time, 1, momentum=False, per_layer=False)
    y, end = operator(**arguments, chunk_size=1)
    expected = with_gradients(*gated_delta_rule(**as_delta_rule(arguments)), arguments)
    errors = worst_error(with_gradients(y, end.weights[0], arguments), expected)
    assert max(errors.values()) < 1e-9, errors
