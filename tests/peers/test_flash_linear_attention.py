"""The recurrences, and a linear memory without momentum at chunk 1, equal flash-linear-attention's references.

The package cannot be imported without triton, half a gigabyte; the files of its references need torch and einops alone,
and compute in float32 whatever they are given. Its kernels need a GPU.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from gated_delta import as_delta_rule
from memory_case import memory_arguments
from peers import peer_file

from titans.ops import gated_delta_rule, gated_linear_attention, neural_memory

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


BATCH, HEADS, D_K, D_V = 2, 3, 8, 5


def streams(time):
    """q, k of length 1, v, and a state."""
    q, k = (F.normalize(torch.randn(BATCH, HEADS, time, D_K), dim=-1) for _ in range(2))
    return {"q": q, "k": k, "v": torch.randn(BATCH, HEADS, time, D_V), "state": torch.randn(BATCH, HEADS, D_K, D_V)}


def theirs(function, state, tokens_first=True, **tensors):
    """A reference with its own scale, which is taken out of the queries, and its own order of dimensions."""
    tensors["q"] = tensors["q"] * D_K**0.5
    order = {name: x.transpose(1, 2) if tokens_first else x for name, x in tensors.items()}
    o, end = function(**order, initial_state=state, output_final_state=True)
    return (o.transpose(1, 2) if tokens_first else o), end


def assert_close(found, true):
    for ours, other in zip(found, true, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time", [1, 63, 130])
def test_linear_attention_equals_their_references(time):
    given = streams(time)
    decay, channels = -torch.rand(BATCH, HEADS, time), -torch.rand(BATCH, HEADS, time, D_K)
    plain = peer_file("fla", "ops/linear_attn/naive.py")["naive_recurrent_linear_attn"]
    simple, gla = peer_file("fla", "ops/simple_gla/naive.py"), peer_file("fla", "ops/gla/naive.py")
    assert_close(gated_linear_attention(**given), theirs(plain, **given))
    for form in ("naive_recurrent_simple_gla", "naive_chunk_simple_gla"):
        assert_close(gated_linear_attention(**given, log_decay=decay), theirs(simple[form], **given, g=decay))
    true = theirs(gla["naive_recurrent_gla"], **given, gk=channels)
    assert_close(gated_linear_attention(**given, log_decay=channels), true)


@pytest.mark.parametrize("time", [1, 63, 130])
def test_retention_equals_their_reference(time):
    given = streams(time) | {"state": None}
    reference = peer_file("fla", "ops/retention/naive.py")["naive_retention"]
    decay = (1 - 2.0 ** (-5 - torch.arange(HEADS))).log().view(1, -1, 1).expand(1, HEADS, time)
    y, _ = gated_linear_attention(**given, log_decay=decay)
    torch.testing.assert_close(y, reference(given["q"] * D_K**0.5, given["k"], given["v"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time", [1, 63, 130])
def test_the_delta_rule_equals_their_references(time):
    given = streams(time) | {"beta": torch.rand(BATCH, HEADS, time)}
    plain = peer_file("fla", "ops/delta_rule/naive.py")["delta_rule_recurrence"]
    assert_close(gated_delta_rule(**given), theirs(plain, **given, tokens_first=False))
    decay = -torch.rand(BATCH, HEADS, time)
    gated = theirs(reference["naive_recurrent_gated_delta_rule"], **given, g=decay)
    assert_close(gated_delta_rule(**given, log_decay=decay), gated)
