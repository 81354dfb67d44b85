"""Tests of the mixer: `pytest example_plugin`. They hold for any mixer that this one is turned into."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig
from titans_lab import plugins
from torch.utils.flop_counter import FlopCounterMode

CHUNKS, TIME = (1, 4, 64), 23


@pytest.fixture(autouse=True)
def plugin() -> None:
    """Load the folder of this file; running its tests is the consent."""
    plugins.allow_all()
    plugins.load(plugins.find(str(Path(__file__).parent), Path("/")))


def model(chunk_size: int = 4) -> tuple[ModelConfig, Backbone, torch.Tensor]:
    """Return a small model in float64 and a sequence for it."""
    from titans.mixers import registry

    settings = registry.mixer("example_plugin").settings
    assert settings is not None
    config = ModelConfig(variant="example_plugin", dim=8, n_layers=2, settings=(settings(chunk_size=chunk_size),))
    built = Backbone(config)
    initialise(built, seed=0)
    return config, built.double(), torch.randn(3, TIME, 8, dtype=torch.float64)


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_a_stream_that_is_cut_gives_what_the_whole_gives(chunk_size: int) -> None:
    _, built, x = model(chunk_size)
    whole, _ = built.hidden(x)
    first, state = built.hidden(x[:, :9])
    second, _ = built.hidden(x[:, 9:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole, rtol=0, atol=1e-9)


def test_no_output_depends_on_a_later_token() -> None:
    _, built, x = model()
    changed = x.clone()
    changed[:, 11:] += 1
    assert torch.equal(built.hidden(changed)[0][:, :11], built.hidden(x)[0][:, :11])


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_the_layer_equals_its_reference_with_every_gradient(chunk_size: int) -> None:
    from titans.mixers import registry

    spec = registry.mixer("example_plugin")
    (config, fast, x), (_, slow, _) = model(chunk_size), model(chunk_size)
    for block in slow.blocks:
        spec.use_reference(block.mixer)
    outputs = [built.hidden(x)[0] for built in (fast, slow)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)
    gradients = [torch.autograd.grad(y.square().sum(), list(b.parameters())) for y, b in zip(outputs, (fast, slow), strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_costs_are_what_torch_counts(chunk_size: int) -> None:
    from titans.mixers import registry

    spec = registry.mixer("example_plugin")
    config, built, x = model(chunk_size)
    mixer = built.blocks[0].mixer
    assert spec.parameters(config) == sum(each.numel() for each in mixer.parameters())
    with FlopCounterMode(display=False) as counter:
        mixer(x, mixer.start(len(x)))
    assert 2 * spec.multiply_adds(config, TIME, len(x)) == counter.get_total_flops()
