"""Mamba as arXiv 2312.00752 writes it, token by token."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from titans.mixers.mamba.layer import Mamba
from titans.models.config import ModelConfig
from titans.models.language_model import initialise


def layer_of(dim=20):
    layer = Mamba(ModelConfig(variant="mamba", dim=dim))
    initialise(layer, 0)
    return layer


def test_it_starts_as_published():
    layer = layer_of()
    assert layer.inputs.out_features == 2 * 40
    assert (layer.rank, layer.size) == (2, 16)
    steps = F.softplus(layer.step.bias)
    torch.testing.assert_close(steps.aminmax(), (torch.tensor(0.001), torch.tensor(0.1)))
    assert not layer.log_rates.any()
    assert (layer.skip == 1).all()


def test_the_layer_is_the_papers_recurrence():
    layer = layer_of().double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    tokens = torch.randn(2, 70, 20, dtype=torch.float64)
    found, stream = layer(tokens, layer.start(2))

    x, z = layer.inputs(tokens).chunk(2, -1)
    taps = layer.convolution.weight
    padded = F.pad(x, (0, 0, 3, 0))
    x = F.silu(sum(padded[:, i : i + 70] * taps[:, i] for i in range(4)) + layer.convolution.bias)
    delta, b, c = layer.select(x).split([2, 16, 16], -1)
    delta = F.softplus(layer.step(delta))
    rates = -torch.exp(layer.log_rates + torch.arange(1, 17, dtype=torch.float64).log())  # A_log as it was published
    h, outputs = torch.zeros(2, 40, 16).double(), []
    for t in range(70):
        h = torch.exp(delta[:, t, :, None] * rates) * h + (delta * x)[:, t, :, None] * b[:, t, None]
        outputs.append(torch.einsum("bcn,bn->bc", h, c[:, t]) + layer.skip * x[:, t])
    true = layer.out(torch.stack(outputs, 1) * F.silu(z))
    torch.testing.assert_close(found, true, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(stream.state, h, rtol=1e-12, atol=1e-11)
