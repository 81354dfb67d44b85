"""A linear memory without momentum at chunk 1 equals the gated delta rule of flash-linear-attention's reference.

The package cannot be imported without triton, half a gigabyte; the file of its reference needs torch and einops alone,
and computes in float32 whatever it is given.
"""

from __future__ import annotations

import pytest
import torch
from gated_delta import as_delta_rule
from memory_case import memory_arguments
from peers import peer_file

from titans.ops import neural_memory

reference = peer_file("fla", "ops/gated_delta_rule/naive.py")


@pytest.mark.parametrize("form", ["naive_recurrent_gated_delta_rule", "naive_chunk_gated_delta_rule"])
@pytest.mark.parametrize("time", [1, 63, 130])
def test_the_memory_equals_their_gated_delta_rule(form, time):
    arguments = memory_arguments(time, 1, momentum=False, per_layer=False, dtype=torch.float32)
    y, end = neural_memory(**arguments, chunk_size=1)
    rule = as_delta_rule(arguments)
    tokens_first = {name: x.transpose(1, 2) for name, x in rule.items() if name != "state"}  # as they lay them out
    g = tokens_first.pop("decay").log()
    o, state = reference[form](**tokens_first, g=g, scale=1.0, initial_state=rule["state"].mT, output_final_state=True)
    torch.testing.assert_close(y, o.transpose(1, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(end.weights[0], state.mT, rtol=1e-5, atol=1e-5)
