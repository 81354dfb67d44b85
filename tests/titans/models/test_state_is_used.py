"""The control of every mixer with a state: trained to recall, it uses the state, so without its writes it guesses.

Two keys with their values, four blanks, then one of the keys. Windows, segments and convolutions end before the
pairs, so the value can come through the state alone.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from variants import of_variant

from titans.mixers.registry import pattern, variants
from titans.models.config import MemoryConfig
from titans.models.language_model import LanguageModel, has_writes, writes_off

KEYS, VALUES, PAIRS, BLANKS = 4, 4, 2, 4
STEPS, EXAMPLES = 150, 64
WITHOUT = {"transformer", "window", "lstm"}  # no state that is written, or torch's own
MIXERS = [variant for variant in variants() if pattern(variant) == (variant,) and variant not in WITHOUT]


def examples(count: int, numbers: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences `[count, time]` and the value that follows each."""
    keys = torch.stack([torch.randperm(KEYS, generator=numbers)[:PAIRS] for _ in range(count)])
    values = torch.randint(KEYS, KEYS + VALUES, (count, PAIRS), generator=numbers)
    asked = torch.randint(0, PAIRS, (count, 1), generator=numbers)
    blanks = torch.full((count, BLANKS), KEYS + VALUES)
    pairs = torch.stack((keys, values), 2).flatten(1)
    return torch.cat((pairs, blanks, keys.gather(1, asked)), 1), values.gather(1, asked)[:, 0]


@torch.no_grad()
def accuracy(model: LanguageModel, numbers: torch.Generator) -> float:
    tokens, wanted = examples(500, numbers)
    return float((model(tokens)[:, -1].argmax(1) == wanted).float().mean())


@pytest.mark.parametrize("variant", MIXERS)
def test_a_model_that_recalls_guesses_without_its_writes(variant: str) -> None:
    config = of_variant(
        variant, vocab_size=KEYS + VALUES + 1, dim=16, n_layers=1, n_heads=1, persistent_tokens=0, segment_len=4,
        window=2, attention_conv_size=2, memory=MemoryConfig(depth=1, chunk_size=1, residual=False, theta_scale=0.5),
    )  # fmt: skip
    model, numbers = LanguageModel(config, seed=0), torch.Generator().manual_seed(0)
    assert has_writes(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        tokens, wanted = examples(EXAMPLES, numbers)
        optimizer.zero_grad()
        F.cross_entropy(model(tokens)[:, -1], wanted).backward()
        optimizer.step()
    model.eval()
    used = accuracy(model, numbers)
    with writes_off(model):
        guessed = accuracy(model, numbers)
    assert used > guessed + 0.2, f"{used} with writes, {guessed} without; chance is {1 / VALUES}"
    assert guessed < 0.5
