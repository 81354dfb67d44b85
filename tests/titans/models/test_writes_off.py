"""With writes off, a model reads its initial state alone: nothing from beyond its convolutions and its window."""

from __future__ import annotations

import pytest
import torch
from variants import VARIANTS, away_from_zero, of_variant

from titans.models.config import MemoryConfig
from titans.models.language_model import LanguageModel, has_writes, writes_off

WITHOUT = {"transformer", "window", "lstm"}
LENGTH, FAR = 16, 4  # the last tokens see the first ones through a state alone


def small(variant: str) -> LanguageModel:
    config = of_variant(
        variant, vocab_size=7, dim=16, n_layers=1, n_heads=2, persistent_tokens=2, segment_len=4, window=2,
        memory=MemoryConfig(depth=2, chunk_size=2, alpha_bias=-3.0, theta_scale=0.5),
    )  # fmt: skip
    model = LanguageModel(config).double().eval()
    away_from_zero(model)
    return model


def reach(model: LanguageModel) -> float:
    """The largest derivative of the last four outputs by the first tokens."""
    x = torch.randn(1, LENGTH, 16, dtype=torch.float64, requires_grad=True)
    y, _ = model.mix(x, model.start(1))
    (gradient,) = torch.autograd.grad((y[:, 12:] * torch.randn_like(y[:, 12:])).sum(), x)
    return float(gradient[:, :FAR].abs().max())


def test_what_has_no_state_that_is_written_is_said_to_have_none() -> None:
    assert {variant for variant in VARIANTS if not has_writes(small(variant))} == WITHOUT


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant not in WITHOUT])
def test_without_writes_nothing_passes_through_a_state(variant: str) -> None:
    model = small(variant)
    assert reach(model) > 0
    with writes_off(model):
        assert reach(model) == 0
    assert reach(model) > 0


@pytest.mark.parametrize("variant", ["lmm", "mac", "mal", "ttt_mlp", "gated_deltanet", "momentum_delta_rule", "mamba"])
def test_without_writes_a_stream_may_be_cut_anywhere(variant: str) -> None:
    model, tokens = small(variant), torch.randint(0, 7, (2, LENGTH))
    with torch.no_grad(), writes_off(model):
        state, parts = model.start(2), []
        for part in tokens.split([5, 1, 1, 9], 1):
            y, state = model.advance(part, state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), model(tokens), rtol=0, atol=1e-9)
