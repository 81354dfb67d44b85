"""TTT-Linear and TTT-MLP: one chunk of the layer against the update as arXiv 2407.04620 writes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from titans.mixers.ttt import TTTLinearConfig
from titans.mixers.ttt.layer import TTT
from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel, initialise

DIM, HEADS, CHUNK = 12, 2, 16
WIDTH = DIM // HEADS


def inner(weights, gain, x):
    """x + LayerNorm(f(x)), f a matrix or an MLP with GELU."""
    y = x
    for number, weight in enumerate(weights):
        y = (F.gelu(y) if number else y) @ weight.mT
    return x + F.layer_norm(y, (WIDTH,)) * (1 + gain)


@pytest.mark.parametrize(("name", "rate"), [("ttt_linear", 1.0), ("ttt_mlp", 0.1)])
def test_a_chunk_is_one_step_of_gradient_descent(name, rate):
    layer = TTT(ModelConfig(variant=name, dim=DIM, n_heads=HEADS, conv_size=1), name)
    initialise(layer, 0)
    layer.double()
    memory = layer.memory
    with torch.no_grad():
        for p in memory.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x = torch.randn(1, CHUNK, DIM, dtype=torch.float64)
    _, stream = layer(x, layer.start(1))

    *weights, gain = (p.detach().requires_grad_() for p in memory.initial)
    k, v = (p(x)[0][0].detach() for p in (memory.k, memory.v))
    logits = F.linear(x, memory.gates.weight, memory.gates.bias)[0].mT[:, :, None]
    theta = rate / WIDTH / CHUNK * torch.sigmoid(logits)  # [heads, time, 1]
    losses = (inner(weights, gain[:, None], k) - v).square() / 2
    gradients = torch.autograd.grad((theta.detach() * losses).sum(), weights)
    for found, weight, gradient in zip(stream.state.weights[:-1], weights, gradients, strict=True):
        torch.testing.assert_close(found[0], weight - gradient, rtol=0, atol=1e-12)
    assert torch.equal(stream.state.weights[-1][0], gain)


def test_inner_weights_start_as_small_as_published():
    drawn = {
        std: LanguageModel(ModelConfig(variant="ttt_linear", n_layers=1, settings=settings), seed=0)
        for std, settings in {0.02: (), 0.5: (TTTLinearConfig(initial_std=0.5),)}.items()
    }
    for std, model in drawn.items():
        assert float(model.blocks[0].mixer.memory.initial[0].detach().std()) == pytest.approx(std, rel=0.05)
    with pytest.raises(ValueError, match="initial_std: 0 is not above 0"):
        TTTLinearConfig(initial_std=0)
