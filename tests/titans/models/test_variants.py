"""What holds for every variant: nothing idle, something learned, and a stream that carries what its cost says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from variants import VARIANTS, of_variant

from titans.models.config import MemoryConfig, RecurrentConfig
from titans.models.cost import state_bytes
from titans.models.language_model import LanguageModel
from titans.ops import MemoryState

MEMORY = MemoryConfig(depth=2, expansion=2, chunk_size=4)


def small(variant, **values):
    sizes = {"vocab_size": 11, "dim": 16, "n_heads": 2, "persistent_tokens": 3, "segment_len": 8, "window": 6}
    return of_variant(variant, **{**sizes, "memory": MEMORY, "recurrent": RecurrentConfig(chunk_size=4), **values})


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant):
    model = LanguageModel(small(variant)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    logits = model(torch.randint(0, 11, (2, 25)))
    (logits * torch.randn_like(logits)).sum().backward()
    parameters = [(name, p) for name, p in model.named_parameters() if p.numel()]
    assert not [name for name, p in parameters if p.grad is None or not (p.grad != 0).any()]


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # RMSNorm says that bfloat16 beside float32 is not its fastest way
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_few_steps_lower_the_loss(variant, precision):
    model, losses = LanguageModel(small(variant)), []
    tokens = torch.randint(0, 11, (4, 1, 8)).repeat(1, 5, 1).flatten(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def numbers(state, momentum):
    """How many different numbers a state holds: a tensor that is there twice, or all zeros, counts once or not."""
    found = {x.data_ptr(): x.numel() for x in tensors(state, momentum) if x.any()}
    return sum(found.values())


def tensors(state, momentum):
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, MemoryState) and not momentum:
        state = state.weights  # what is there of momentum is not used
    return [x for part in state for x in tensors(part, momentum)] if isinstance(state, tuple) else []


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant not in ("mac", "mal")])
@pytest.mark.parametrize("momentum", [False, True])
def test_a_stream_carries_what_its_cost_says(variant, momentum):
    """At a chunk's boundary. MAC's is counted at its longest, and MAL also keeps what was read on persistent tokens."""
    config = small(variant, memory=MemoryConfig(depth=2, expansion=2, chunk_size=4, momentum=momentum))
    model = LanguageModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
        _, state = model.advance(torch.randint(0, 11, (1, 24)), model.start(1))
    assert 4 * numbers(state, momentum and not variant.startswith("ttt")) == state_bytes(config, 24)
