from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from variants import VARIANTS, away_from_zero

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.forecaster import Forecaster

MODES = ("last", "revin")


def forecaster(variant: str = "lmm", normalisation: Any = "last", seed: int = 0) -> Forecaster:
    """One whose head and direct map are not 0, in float64."""
    memory = MemoryConfig(expansion=2, chunk_size=2)
    config = ModelConfig(variant=variant, dim=8, n_layers=3, n_heads=2, segment_len=4, window=4, memory=memory)  # type: ignore[arg-type]
    model = Forecaster(config, 6, 24, 10, normalisation, seed).double()
    for layer in (model.head, model.direct):
        nn.init.normal_(layer.weight)
    return model


def past(batch: int = 3) -> torch.Tensor:
    return 5 * torch.randn(batch, 24, dtype=torch.float64) + 20


@pytest.mark.parametrize("normalisation", MODES)
def test_before_training_it_repeats_the_last_value(normalisation: Any):
    model = Forecaster(ModelConfig(variant="lmm", dim=8, n_heads=2), 6, 24, 10, normalisation)
    x = past().float()
    torch.testing.assert_close(model(x), x[:, -1:].expand(-1, 10))


def test_the_forecast_without_the_blocks_is_a_linear_map_of_differences_to_the_last_value():
    model, x = forecaster(), past()
    nn.init.zeros_(model.head.weight)
    torch.testing.assert_close(model(x), x[:, -1:] + (x - x[:, -1:]) @ model.direct.weight.T)


@pytest.mark.parametrize("normalisation", MODES)
def test_a_shifted_past_has_a_shifted_forecast(normalisation: Any):
    model, x = forecaster(normalisation=normalisation), past()
    torch.testing.assert_close(model(x + 100), model(x) + 100)


def test_revin_gives_a_scaled_forecast_for_a_scaled_past():
    model, x = (
        forecaster(normalisation="revin"),
        past() * 1000,
    )  # beside which the epsilon, which is not scaled, is small
    torch.testing.assert_close(model(x * 7), model(x) * 7, rtol=1e-6, atol=1e-3)


def test_a_constant_past_is_forecast_without_a_division_by_zero():
    x = torch.full((1, 24), 3.0, dtype=torch.float64)
    assert all(forecaster(normalisation=mode)(x).isfinite().all() for mode in MODES)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_mixer_sees_the_past_and_learns(variant: str):
    model, x = away_from_zero(forecaster(variant)), past().requires_grad_()
    model(x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()
    dead = [name for name, p in model.named_parameters() if p.numel() and (p.grad is None or not p.grad.any())]
    assert not dead


def test_a_window_is_forecast_alike_whatever_the_others_are():
    model, x = forecaster(), past(4)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


def test_patches_have_to_fill_the_past():
    with pytest.raises(ValueError, match=r"tokens: 5 patches do not divide a look-back of 24 steps"):
        Forecaster(ModelConfig(), 5, 24, 10)
