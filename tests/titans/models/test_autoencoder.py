from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from titans.models.autoencoder import AutoEncoder, positions
from titans.models.config import ModelConfig
from titans.models.cost import forward_flops, parameters
from titans_lab.tasks.mad import CompressionSettings
from titans_lab.tasks.text import TextSettings

CONFIG = ModelConfig(variant="transformer", vocab_size=11, dim=16, n_layers=2, n_heads=2)


def test_all_that_the_decoder_knows_is_the_last_place_and_the_position():
    model = AutoEncoder(CONFIG, seed=1)
    tokens = torch.randint(0, 11, (3, 9))
    code = model.hidden(model.embedding(tokens))[0][:, -1]
    for place in range(9):
        expected = model.head(model.decoder(code + positions(9, code)[place]))
        torch.testing.assert_close(model(tokens)[:, place], expected)
    wanted = torch.rand(3, 9) < 0.5
    torch.testing.assert_close(model.logits_at(tokens, wanted), model(tokens)[wanted])


def test_positions_are_told_apart_and_are_those_of_the_sinusoidal_embedding():
    found = positions(300, torch.zeros(1, 8, dtype=torch.float64))
    rates = [10_000 ** (-i / 3) for i in range(4)]
    expected = [[f(7 * rate) for f in (torch.sin, torch.cos) for rate in map(torch.tensor, rates)]]
    torch.testing.assert_close(found[7:8], torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    assert torch.cdist(found, found).fill_diagonal_(1).min() > 1e-3


def test_every_token_reaches_every_output():
    model = AutoEncoder(CONFIG).double()
    embedded = model.embedding(torch.randint(0, 11, (1, 6))).detach().requires_grad_()
    model.embedding = torch.nn.Identity()
    for place in range(6):
        (gradient,) = torch.autograd.grad(model(embedded)[0, place].square().sum(), embedded)
        assert (gradient.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("length", [1, 7])
def test_its_cost_is_that_of_the_tasks_settings(length):
    model, usual, own = AutoEncoder(CONFIG), TextSettings().ends(CONFIG, 32), CompressionSettings().ends(CONFIG, 32)
    counted = sum(p.numel() for p in model.parameters())
    assert parameters(CONFIG) - usual.parameters + own.parameters == counted
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(0, 11, (4, length)))
    expected = forward_flops(CONFIG, length, 4) + 2 * 4 * length * (own.products - usual.products)
    assert abs(counter.get_total_flops() - expected) <= 2 * 4 * length * CONFIG.dim * length * 4  # attention's kernels
