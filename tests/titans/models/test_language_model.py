from __future__ import annotations

import pytest
import torch
from variants import VARIANTS, of_variant

from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel


@pytest.mark.parametrize("variant", VARIANTS)
def test_recomputation_changes_no_number(variant):
    model = LanguageModel(of_variant(variant, vocab_size=11, dim=16, n_heads=2, segment_len=16, window=6))
    tokens = torch.randint(0, 11, (2, 37))
    found = []
    for model.recompute in (False, True):
        loss = model(tokens).square().mean()
        found.append([loss, *torch.autograd.grad(loss, [p for p in model.parameters() if p.numel()])])
    for kept, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=0, atol=0)


def test_a_tied_model_reads_and_writes_with_one_table():
    config = ModelConfig(variant="transformer", vocab_size=11, dim=64, n_heads=2, tie_embeddings=True)
    model, again = LanguageModel(config, seed=3), LanguageModel(config, seed=3)
    assert model.embedding.weight is model.head.weight
    assert torch.equal(model.head.weight, again.head.weight)
    assert model.head.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)
    model(torch.tensor([[3, 4]])).square().sum().backward()
    assert (model.embedding.weight.grad.abs().sum(1) > 0).all()
