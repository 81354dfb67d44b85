from __future__ import annotations

import pytest
import torch

from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "transformer"])
def test_recomputation_changes_no_number(variant):
    model = LanguageModel(ModelConfig(variant=variant, vocab_size=11, dim=16, heads=2, segment=16, window=6))
    tokens = torch.randint(0, 11, (2, 37))
    found = []
    for model.recompute in (False, True):
        loss = model(tokens).square().mean()
        found.append([loss, *torch.autograd.grad(loss, [p for p in model.parameters() if p.numel()])])
    for kept, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=0, atol=0)
