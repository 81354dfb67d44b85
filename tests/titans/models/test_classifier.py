from __future__ import annotations

import pytest
import torch
from variants import VARIANTS, away_from_zero

from titans.models.classifier import Classifier
from titans.models.config import MemoryConfig, ModelConfig


def classifier(variant: str) -> Classifier:
    memory = MemoryConfig(expansion=2, chunk_size=4)
    sizes = {"vocab_size": 7, "dim": 8, "n_layers": 3, "n_heads": 2, "segment_len": 8, "window": 6}
    return Classifier(ModelConfig(variant=variant, memory=memory, **sizes), 3).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_a_batch_changes_nothing(variant: str):
    model, tokens, lengths = classifier(variant), torch.randint(7, (3, 21)), torch.tensor([21, 5, 1])
    together = model(tokens, lengths)
    alone = [model(row[None, :length])[0] for row, length in zip(tokens, lengths.tolist(), strict=True)]
    torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant: str):
    model = away_from_zero(classifier(variant))
    torch.nn.functional.cross_entropy(model(torch.randint(7, (4, 30))), torch.tensor([0, 1, 2, 1])).backward()
    dead = [name for name, p in model.named_parameters() if p.numel() and (p.grad is None or not p.grad.any())]
    assert not dead
