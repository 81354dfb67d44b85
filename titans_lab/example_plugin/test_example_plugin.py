"""Tests of the mixer: `pytest example_plugin`. They hold for any mixer that you turn this one into."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from titans.mixers import registry
from titans.mixers.mixer import Mixer
from titans.mixers.spec import MixerSpec
from titans.models.backbone import initialise
from titans.models.config import ModelConfig
from titans_lab.plugins.consent import allow_all
from titans_lab.plugins.loading import load
from titans_lab.plugins.source import find

BATCH, TIME, DIM = 3, 23, 8


@pytest.fixture
def spec() -> MixerSpec:
    """Load the folder of this file. Whoever runs its tests allows its code."""
    allow_all()
    load(find(str(Path(__file__).parent), Path("/")))
    return registry.mixer("example_plugin")


@pytest.fixture(params=[1, 4, 64])
def config(spec: MixerSpec, request: pytest.FixtureRequest) -> ModelConfig:
    """Return a small model, by chunk size."""
    assert spec.settings is not None
    settings = spec.settings(chunk_size=request.param)
    return ModelConfig(variant="example_plugin", dim=DIM, settings=(settings,))


@pytest.fixture
def layer(spec: MixerSpec, config: ModelConfig) -> Mixer:
    """Return the mixer of one block, in float64."""
    built: Mixer = spec.build(config).double()
    initialise(built, seed=0)
    return built


def read(layer: Mixer, *parts: Tensor) -> Tensor:
    """Return the outputs of a sequence that is read in parts, `[batch, time, dim]`."""
    state, outputs = layer.start(BATCH), []
    for part in parts:
        output, state = layer(part, state)
        outputs.append(output)
    return torch.cat(outputs, 1)


def drawn() -> Tensor:
    """Return random inputs, `[batch, time, dim]`."""
    return torch.randn(BATCH, TIME, DIM, dtype=torch.float64)


def test_a_sequence_that_is_read_in_parts_gives_what_the_whole_gives(layer: Mixer) -> None:
    x = drawn()
    torch.testing.assert_close(read(layer, *x.split([1, 9, 13], 1)), read(layer, x), rtol=0, atol=1e-9)


def test_no_output_depends_on_a_later_token(layer: Mixer) -> None:
    x = drawn()
    changed = torch.cat((x[:, :11], x[:, 11:] + 1), 1)
    assert torch.equal(read(layer, changed)[:, :11], read(layer, x)[:, :11])


def test_outputs_and_gradients_equal_those_of_the_reference(spec: MixerSpec, layer: Mixer) -> None:
    x, parameters = drawn(), list(layer.parameters())
    fast = read(layer, x)
    gradients = torch.autograd.grad(fast.square().sum(), parameters)
    spec.use_reference(layer)
    slow = read(layer, x)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-9)
    torch.testing.assert_close(gradients, torch.autograd.grad(slow.square().sum(), parameters), rtol=1e-9, atol=1e-9)


def test_costs_are_what_torch_counts(spec: MixerSpec, config: ModelConfig, layer: Mixer) -> None:
    assert spec.parameters(config) == sum(parameter.numel() for parameter in layer.parameters())
    if config.settings and config.settings[0].chunk_size == 1:
        pytest.skip("torch counts no product where a chunk has one token")
    with FlopCounterMode(display=False) as counter:
        read(layer, drawn())
    assert 2 * spec.multiply_adds(config, TIME, BATCH) == counter.get_total_flops()
