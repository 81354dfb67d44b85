"""The mixers whose state is a matrix for each head: the layers, on what each was published as."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from titans.mixers import registry
from titans.mixers.log_linear_attention import LogLinearAttentionConfig
from titans.mixers.parts import rotate
from titans.models.config import ModelConfig, RecurrentConfig
from titans.models.language_model import LanguageModel, initialise
from titans.ops import naive_gated_delta_rule, naive_gated_linear_attention, naive_momentum_delta_rule

VARIANTS = [
    "linear_attention", "retnet", "gla", "mamba2", "deltanet", "gated_deltanet", "kda", "gated_deltanet_2",
    "gated_deltaproduct", "comba", "rwkv7", "mesanet", "log_linear_attention", "momentum_delta_rule",
]  # fmt: skip
RECURRENT = {
    "published": RecurrentConfig(chunk_size=16),
    "other sizes": RecurrentConfig(chunk_size=7, state_size=5, expand_k=0.7, expand_v=1.6, conv_size=3),
}
CASES = [(variant, sizes) for variant in VARIANTS for sizes in RECURRENT]
TIME = 63
FEW = LogLinearAttentionConfig(levels=5)  # so few that each has tokens


def mixer(variant, sizes="published", **others):
    """In float64, every parameter away from where training starts it."""
    config = ModelConfig(variant=variant, dim=12, n_heads=2, recurrent=RECURRENT[sizes], settings=(FEW,), **others)
    layer = registry.mixer(variant).build(config)
    initialise(layer, 0)
    layer = layer.double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return layer


def tokens(batch=2, time=TIME):
    return torch.randn(batch, time, 12, dtype=torch.float64, requires_grad=True)


def results(layer, x, y):
    """The output, and the gradient of a fixed projection of it by x and every parameter."""
    generator = torch.Generator().manual_seed(1)
    total = (y * torch.randn(y.shape, generator=generator, dtype=y.dtype)).sum()
    named = {"x": x, **dict(layer.named_parameters())}
    return {"y": y, **dict(zip(named, torch.autograd.grad(total, list(named.values())), strict=True))}


def assert_equal(found, true):
    for name, x in true.items():
        assert (found[name] - x).abs().max() <= 1e-9 * max(1, x.abs().max()), name


def by_token(layer, x):
    state, parts = layer.start(len(x)), []
    for token in x.split(1, 1):
        y, state = layer(token, state)
        parts.append(y)
    return torch.cat(parts, 1)


@pytest.mark.parametrize(("variant", "sizes"), CASES)
def test_a_layer_in_chunks_equals_the_reference_token_by_token(variant, sizes):
    layer, x = mixer(variant, sizes), tokens()
    found = results(layer, x, layer(x, layer.start(2))[0])
    registry.mixer(variant).use_reference(layer)
    assert_equal(found, results(layer, x, by_token(layer, x)))


@pytest.mark.parametrize(("variant", "sizes"), CASES)
def test_gradients_reach_every_number(variant, sizes):
    layer, x = mixer(variant, sizes), tokens()
    for name, gradient in results(layer, x, layer(x, layer.start(2))[0]).items():
        assert (gradient != 0).all(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_products_in_bfloat16_leave_the_state_in_float32(variant):
    layer, x = mixer(variant).float(), tokens().float()
    with torch.autocast("cpu", torch.bfloat16):
        y, stream = layer(x, layer.start(2))
    assert stream.state.dtype == torch.float32
    whole = layer(x, layer.start(2))[0]
    assert (y - whole).norm() < 0.1 * whole.norm()  # a norm: single small values may be rounded away


def heads(x, linear):
    return linear(x).unflatten(-1, (2, -1)).transpose(1, 2)


def test_linear_attention_is_the_average_of_the_values_by_its_weights():
    """Eq. 4 of arXiv 2006.16236, over all pairs of tokens."""
    layer, x = mixer("linear_attention"), tokens()
    q, k, v = (heads(x, project.linear) for project in (layer.inputs.q, layer.inputs.k, layer.inputs.v))
    weights = ((F.elu(q) + 1) @ (F.elu(k) + 1).mT).tril()
    y = (weights / weights.sum(-1, keepdim=True)) @ v
    true = layer.out(y.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, layer.start(2))[0], true, rtol=0, atol=1e-5)  # which has an epsilon


def test_retention_is_its_parallel_form():
    """Eqs. 5 and 8 of arXiv 2307.08621, over all pairs of tokens."""
    layer, x = mixer("retnet"), tokens()
    q, k, v = (heads(x, project.linear) for project in (layer.inputs.q, layer.inputs.k, layer.inputs.v))
    distance = torch.arange(TIME)[:, None] - torch.arange(TIME)
    gamma = torch.tensor([1 - 2**-5, 1 - 2**-6], dtype=torch.float64)
    decay = (gamma.view(-1, 1, 1) ** distance.clamp(min=0)).tril()
    y = ((rotate(q) @ rotate(k).mT) * q.shape[-1] ** -0.5 * decay) @ v
    y = F.rms_norm(y, y.shape[-1:], layer.readout.norm.weight, 1e-5) * F.silu(heads(x, layer.readout.gate))
    true = layer.readout.out(y.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, layer.start(2))[0], true, rtol=0, atol=1e-6)  # float32 decays


def test_mamba2_is_its_state_space_model():
    """h_t = exp(-A dt) h + dt B x^T, y = C^T h + D x of arXiv 2405.21060, and around it what its block has."""
    layer, x = mixer("mamba2"), tokens(batch=1, time=9)
    inner, states = layer.out.in_features, 128
    z, mixed, dt = layer.project(x[0]).split((inner, inner + 2 * states, 2), -1)
    past = F.pad(mixed, (0, 0, 3, 0)).unfold(0, 4, 1)  # the last four of each channel
    values, b, c = F.silu((past * layer.convolution.weight).sum(-1) + layer.convolution.bias).split(
        (inner, states, states), -1
    )
    dt, a = F.softplus(dt + layer.decay.step_bias), -layer.decay.log_rate.exp()
    h, outputs = torch.zeros(2, states, inner // 2, dtype=torch.float64), []
    for t in range(9):
        v = values[t].view(2, -1)
        h = (a * dt[t]).exp().view(2, 1, 1) * h + dt[t].view(2, 1, 1) * b[t].view(1, -1, 1) * v.unsqueeze(1)
        outputs.append((torch.einsum("n,hnp->hp", c[t], h) + layer.skip.view(2, 1) * v).flatten())
    y = torch.stack(outputs) * F.silu(z)
    true = layer.out(F.rms_norm(y, y.shape[-1:], layer.norm.weight, 1e-5))
    torch.testing.assert_close(layer(x, layer.start(1))[0][0], true, rtol=0, atol=1e-9)


def test_time_scales_of_the_heads_start_where_they_were_published():
    """A of each head in (1, 16), dt in (0.001, 0.1), the same whatever the seed."""
    one, other = (
        LanguageModel(ModelConfig(variant="mamba2", n_layers=1, n_heads=8), seed).blocks[0].mixer for seed in (0, 1)
    )
    step, log_decay = one.decay(torch.zeros(1, 1, 8))
    rate = -(log_decay / step).flatten()
    assert 1 < rate.min() < 3
    assert 14 < rate.max() < 16
    assert 0.001 < step.min() < 0.002
    assert 0.05 < step.max() < 0.1
    torch.testing.assert_close(one.decay.step_bias, other.decay.step_bias, rtol=0, atol=0)


def test_glas_decays_start_near_one():
    """A temperature of 16 and a bias of 0: 0.5^(1/16)."""
    layer = registry.mixer("gla").build(ModelConfig(variant="gla", dim=12, n_heads=2))
    nn.init.zeros_(layer.decay.weight)
    x = tokens().float()
    _, stream = layer(x[:, :1], layer.start(2))
    nn.init.zeros_(layer.inputs.v.linear.weight)  # nothing more is written
    _, after = layer(x[:, 1:2], stream)
    torch.testing.assert_close(after.state, stream.state * 0.5 ** (1 / 16))


def test_rwkv7_is_its_time_mixing():
    """Section 4.1 of arXiv 2503.14456, token by token, around the recurrence and in it."""
    layer, x = mixer("rwkv7"), tokens(batch=1, time=9)
    low = {"decay": torch.tanh, "rate": lambda y: y, "gate": torch.sigmoid}
    state, before, outputs = torch.zeros(2, 6, 6, dtype=torch.float64), torch.zeros(12, dtype=torch.float64), []
    for now in x[0]:
        r, k, v, w, a, g = (now + mu * (before - now) for mu in layer.shifts)
        r, k, v = r @ layer.r.weight.mT, k @ layer.k.weight.mT, v @ layer.v.weight.mT
        w, a, g = (
            act(y @ part.narrow.weight.mT) @ part.wide.weight.mT + (0 if part.bias is None else part.bias)
            for y, act, part in zip((w, a, g), low.values(), (getattr(layer, name) for name in low), strict=True)
        )
        a, w = torch.sigmoid(a), torch.exp(-math.exp(-0.5) * torch.sigmoid(w))
        removed, k = k * layer.removed_gain, k * (1 + (a - 1) * layer.rate_gain)
        r, k, v, w, a, removed, bonus = (y.view(2, 6) for y in (r, k, v, w, a, removed, layer.bonus))
        removed = removed / removed.norm(dim=-1, keepdim=True)
        found = torch.einsum("hkv,hk->hv", state, removed)
        state = (
            w.unsqueeze(-1) * state - torch.einsum("hk,hv->hkv", a * removed, found) + torch.einsum("hk,hv->hkv", k, v)
        )
        y = F.layer_norm(torch.einsum("hkv,hk->hv", state, r), (6,), eps=6e-5).flatten()
        own = ((r * bonus * k).sum(-1, keepdim=True) * v).flatten()
        outputs.append(((y * layer.norm_gain + layer.norm_bias + own) * g) @ layer.out.weight.mT)
        before = now
    torch.testing.assert_close(layer(x, layer.start(1))[0][0], torch.stack(outputs), rtol=0, atol=1e-9)


def test_comba_erases_less_than_it_finds_and_reads_beside_its_key():
    """With the feedbacks at 1 and 0, and the decay at 1, Comba is the delta rule."""
    layer, x = mixer("comba"), tokens()
    with torch.no_grad():
        layer.state_feedback.fill_(40.0)
        layer.output_feedback.zero_()
        layer.decay.log_rate.fill_(-60.0)
    q, k, v, _ = layer.inputs(x, (None, None, None))
    y, _ = naive_gated_delta_rule(q, k, v, torch.sigmoid(layer.beta(x).mT))
    torch.testing.assert_close(layer(x, layer.start(2))[0], layer.readout(y, x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", ["kda", "gated_deltanet_2"])
def test_time_scales_of_the_channels_start_where_they_were_published(variant):
    """A of each head in (1, 16), dt of each channel in (0.001, 0.1)."""
    layer = registry.mixer(variant).build(ModelConfig(variant=variant, dim=128, n_heads=4))
    for p in layer.decay.logits.parameters():
        nn.init.zeros_(p)
    decay = -layer.decay(torch.zeros(1, 1, 128))[0, :, 0]
    step = decay / layer.decay.log_rate.exp().unsqueeze(-1)
    assert 1 < layer.decay.log_rate.exp().min() < 3
    assert 14 < layer.decay.log_rate.exp().max() < 16
    assert 0.001 < step.min() < 0.0012
    assert 0.08 < step.max() < 0.1


def test_mesanet_reads_the_ridge_regression_of_its_values_on_its_keys():
    """Eq. 5 of arXiv 2506.05233, over all tokens so far; the ridge starts at 1."""
    fresh = registry.mixer("mesanet").build(ModelConfig(variant="mesanet", dim=12, n_heads=2))
    torch.testing.assert_close(0.25 + F.softplus(fresh.ridge), torch.ones(12))
    layer, x = mixer("mesanet"), tokens(batch=1, time=9)
    q, k = (project(x)[0][0] for project in (layer.q, layer.k))
    v, ridge = heads(x, layer.v.linear)[0], 0.25 + F.softplus(layer.ridge).view(2, 6)
    weights, keep = torch.sigmoid(layer.beta(x))[0].mT, torch.sigmoid(layer.decay(x))[0].mT
    outputs = []
    for t in range(9):
        weight = torch.stack([weights[:, i] * keep[:, i + 1 : t + 1].prod(-1) for i in range(t + 1)], -1).unsqueeze(-1)
        system = k[:, : t + 1].mT @ (weight * k[:, : t + 1]) + torch.diag_embed(ridge)
        fitted = torch.linalg.solve(system, k[:, : t + 1].mT @ (weight * v[:, : t + 1]))
        outputs.append((q[:, t, None] @ fitted).flatten())
    y = F.rms_norm(torch.stack(outputs).unflatten(-1, (2, 6)), (6,), layer.norm.weight, 1e-5)
    torch.testing.assert_close(layer(x, layer.start(1))[0][0], layer.out(y.flatten(1)), rtol=0, atol=1e-9)


def test_log_linear_attention_with_equal_scales_is_mamba2():
    """The scale of each level is softplus(0) where the gain is 0."""
    layer, x = mixer("log_linear_attention"), tokens()
    nn.init.zeros_(layer.scale_gain)
    inner, given, _ = layer.enter(x, None)
    y, _ = naive_gated_linear_attention(*given)
    torch.testing.assert_close(layer(x, layer.start(2))[0], layer.leave(math.log(2) * y, inner), rtol=0, atol=1e-9)


def test_the_gates_of_the_momentum_delta_rule_share_an_angle():
    """Section 3.3 of arXiv 2605.05838: what is added and what is kept are bounded by sin^2 and cos^2 of one angle."""
    layer, x = mixer("momentum_delta_rule"), tokens()
    q, k, v, _ = layer.inputs(x, (None, None, None))
    q = F.normalize(q - layer.log_feedback.exp().view(-1, 1, 1) * k, dim=-1)
    k = F.normalize(k, dim=-1)
    eta = torch.tanh(layer.step_size(x).mT / 12**0.5) + 1
    angle = torch.arctan(eta * layer.log_ratio.exp().unsqueeze(-1))
    beta = angle.sin().square() * torch.sigmoid(layer.beta(x).mT)
    of_decay, of_momentum = layer.decay(layer.step(x))[1], layer.momentum(layer.momentum_step(x))[1]
    log_decay = angle.cos().square().log() + of_decay
    p = log_decay.exp().unsqueeze(-1) * k
    y, _ = naive_momentum_delta_rule(q, k, v, p, eta, beta, of_momentum.clamp(min=-2), log_decay)
    torch.testing.assert_close(layer(x, layer.start(2))[0], layer.readout(y, x), rtol=0, atol=1e-9)
