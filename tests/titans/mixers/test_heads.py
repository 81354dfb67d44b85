"""Which widths may be divided among how many heads: attention needs even heads, the memory whole ones."""

from __future__ import annotations

import pytest
import torch

from titans.mixers.gated_deltanet import PUBLISHED
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.models.cost import parameters
from titans.models.language_model import LanguageModel


@pytest.mark.parametrize("variant", ["transformer", "window", "mac", "mag", "mal", "samba", "gated_deltanet_h2"])
def test_rotary_positions_need_even_heads(variant):
    with pytest.raises(ValueError, match=r"dim: 15 is not divisible by 2 x n_heads \(5\)"):
        ModelConfig(variant=variant, dim=15, n_heads=5, n_layers=3)


@pytest.mark.parametrize(
    ("variant", "dim", "n_heads"), [("lmm", 15, 5), ("ttt_mlp", 6, 2), ("kda", 16, 3), ("retnet", 16, 3)]
)
def test_mixers_without_them_have_odd_heads_or_round(variant, dim, n_heads):
    config = ModelConfig(variant=variant, vocab_size=7, dim=dim, n_heads=n_heads, n_layers=1)
    model = LanguageModel(config)
    assert sum(p.numel() for p in model.parameters()) == parameters(config)
    assert model(torch.randint(0, 7, (2, 9))).isfinite().all()


def test_a_memory_needs_whole_heads():
    with pytest.raises(ValueError, match=r"dim: 16 is not divisible by n_heads \(3\)"):
        ModelConfig(variant="lmm", dim=16, n_heads=3)


def test_gated_deltanet_can_have_the_published_heads():
    """Six heads with keys of 256 and values of 512 at width 2,048 (arXiv 2412.06464's code)."""
    published = sizes(ModelConfig(variant="gated_deltanet", dim=2048, n_heads=6), PUBLISHED)
    assert (published.d_k, published.d_v) == (256, 512)
