"""The recurrences of the rivals of 2025 and 2026 equal flash-linear-attention's.

Its references compute in float32 whatever they are given, with time before the heads and with a scale of d_k^-1/2.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from peers import peer_file

from titans import ops

BATCH, HEADS, D_K, D_V, STEPS = 2, 3, 8, 5, 2
TIMES = pytest.mark.parametrize("time", [1, 63, 130])


def unit(*shape):
    return F.normalize(torch.randn(shape), dim=-1)


def streams(time):
    """q, k of length 1, v, and a state."""
    q, k = (unit(BATCH, HEADS, time, D_K) for _ in range(2))
    return {"q": q, "k": k, "v": torch.randn(BATCH, HEADS, time, D_V), "state": torch.randn(BATCH, HEADS, D_K, D_V)}


def theirs(function, state, **tensors):
    """A reference's outputs and end state, its scale taken out of the queries; settings are no tensors."""
    order = {name: x.transpose(1, 2) if isinstance(x, torch.Tensor) else x for name, x in tensors.items()}
    o, end = function(**order, scale=1.0, initial_state=state.clone(), output_final_state=True)
    return o.transpose(1, 2), end


def assert_close(found, true):
    for ours, other in zip(found, true, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)


@TIMES
def test_kda_equals_their_reference(time):
    given, decay, beta = streams(time), -torch.rand(BATCH, HEADS, time, D_K), torch.rand(BATCH, HEADS, time)
    reference = peer_file("fla", "ops/kda/naive.py")["naive_recurrent_kda"]
    true = theirs(reference, **given, g=decay, beta=beta)
    assert_close(ops.kda(**given, beta=beta, log_decay=decay), true)


@TIMES
@pytest.mark.parametrize("form", ["naive_recurrent_gdn2", "naive_chunk_gdn2"])
def test_gated_deltanet_2_equals_their_references(time, form):
    given, decay = streams(time), -torch.rand(BATCH, HEADS, time, D_K)
    erase, write = torch.rand(BATCH, HEADS, time, D_K), torch.rand(BATCH, HEADS, time, D_V)
    true = theirs(peer_file("fla", "ops/gdn2/naive.py")[form], **given, g=decay, b=erase, w=write)
    assert_close(ops.gated_delta_rule_2(**given, erase=erase, write=write, log_decay=decay), true)


@TIMES
def test_gated_deltaproduct_equals_their_reference(time):
    given, decay = streams(time), -torch.rand(BATCH, HEADS, time)
    steps = {
        "k": unit(BATCH, HEADS, time, STEPS, D_K),
        "v": torch.randn(BATCH, HEADS, time, STEPS, D_V),
        "beta": 2 * torch.rand(BATCH, HEADS, time, STEPS),
    }
    reference = peer_file("fla", "ops/gated_delta_product/naive.py")["naive_recurrent_gated_delta_product"]
    in_a_row = {name: x.flatten(2, 3) for name, x in steps.items()}
    true = theirs(reference, **given | in_a_row, g=decay, num_householder=STEPS)
    assert_close(ops.gated_delta_product(**given | steps, log_decay=decay), true)


@TIMES
def test_comba_equals_their_references(time):
    """Their chunks and kernels erase what p finds before the decay, as the paper; their recurrence, after it."""
    given, decay, beta = streams(time), -torch.rand(BATCH, HEADS, time), torch.rand(BATCH, HEADS, time)
    references, p = peer_file("fla", "ops/comba/naive.py"), 0.7 * given["k"]
    ours = ops.comba(**given, p=p, beta=beta, log_decay=decay)
    assert_close(ours, theirs(references["naive_chunk_comba"], **given, p=p, g=decay, beta=beta))
    before = p * torch.exp(-decay).unsqueeze(-1)
    assert_close(ours, theirs(references["naive_recurrent_comba"], **given, p=before, g=decay, beta=beta))


@TIMES
def test_rwkv7_equals_their_reference_of_a_diagonal_plus_low_rank(time):
    given, decay = streams(time), -0.6 * torch.rand(BATCH, HEADS, time, D_K)
    removed, rate = unit(BATCH, HEADS, time, D_K), torch.rand(BATCH, HEADS, time, D_K)
    reference = peer_file("fla", "ops/generalized_delta_rule/dplr/naive.py")["dplr_recurrence"]
    ours = ops.rwkv7(**given, removed=removed, rate=rate, log_decay=decay)
    q, k, v, state = given.values()
    true = reference(q * D_K**0.5, k, v, alpha=-removed, beta=rate * removed, gk=decay, initial_state=state)
    assert_close(ours, true)


@TIMES
def test_mesa_equals_their_exact_reference_and_their_decoding(time):
    given, decay, beta = streams(time), -0.1 * torch.rand(BATCH, HEADS, time), torch.rand(BATCH, HEADS, time)
    given["v"] = torch.randn(BATCH, HEADS, time, D_K)  # their values are as wide as their keys
    square = torch.randn(BATCH, HEADS, D_K, D_K)
    of_keys, of_values = square @ square.mT, torch.randn(BATCH, HEADS, D_K, D_K)
    ridge = 0.25 + torch.rand(HEADS, D_K)
    del given["state"]
    found = ops.mesa(**given, beta=beta, ridge=ridge, log_decay=decay, state=torch.cat((of_keys, of_values), -1))
    q, k, v, g, b = (x.transpose(1, 2) for x in (*given.values(), decay, beta))
    references = peer_file("fla", "ops/mesa_net/naive.py")
    o, *ends = references["naive_mesa_net_exact"](q, k, v, g, ridge, b, of_keys, of_values)
    assert_close(found, (o.transpose(1, 2), torch.cat(ends, -1)))
    one_step = references["naive_mesa_net_decoding_one_step"]
    for t in range(time):
        o, of_keys, of_values = one_step(*(x[:, t] for x in (q, k, v, g)), ridge, b[:, t], of_keys, of_values)
        torch.testing.assert_close(found[0][:, :, t], o, rtol=1e-2, atol=1e-2)  # they add 1e-5 to what they divide by


@TIMES
def test_log_linear_attention_equals_their_reference(time):
    given, decay, scales = streams(time), -torch.rand(BATCH, HEADS, time), torch.rand(BATCH, HEADS, time, 9)
    del given["state"]
    reference = peer_file("fla", "ops/log_linear_attn/naive.py")["naive_log_linear_attn"]
    q, k, v, g, level_scales = (x.transpose(1, 2) for x in (*given.values(), decay, scales))
    y, _ = ops.log_linear_attention(**given, scales=scales, log_decay=decay)
    true = reference(q, k, v, g, level_scales).transpose(1, 2)
    torch.testing.assert_close(y, true, rtol=1e-5, atol=1e-5)


@TIMES
def test_the_momentum_delta_rule_equals_their_reference(time):
    """Their momentum is ours times -1."""
    given, share = streams(time), torch.rand(BATCH, HEADS, time)
    p, eta, momentum = 0.9 * given["k"], torch.rand(BATCH, HEADS, time), -torch.rand(BATCH, HEADS, time)
    s, m = given.pop("state"), torch.randn(BATCH, HEADS, D_K, D_V)
    gates = {"eta": eta, "beta": share}
    ours = ops.momentum_delta_rule(
        **given, p=p, **gates, log_momentum=momentum, log_decay=(1 - share).log(), state=torch.stack((s, m), 2)
    )
    tensors = given | gates | {"p": p, "log_mu": momentum, "log_alpha": (1 - share).log()}
    reference = peer_file("fla", "ops/momentum_delta_rule/naive.py")["recurrent_momentum_delta_rule_ref"]
    o, (after, theirs_m) = reference(
        **{name: x.transpose(1, 2) for name, x in tensors.items()},
        scale=1.0, initial_S=s, initial_M=-m, output_final_state=True,
    )  # fmt: skip
    assert_close(ours, (o.transpose(1, 2), torch.stack((after, -theirs_m), 2)))
