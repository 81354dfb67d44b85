"""No output depends on a later token or on another sequence, and each write to the memory reaches a later output."""

from __future__ import annotations

import pytest
import torch
from variants import VARIANTS, WITH_MEMORY, of_variant

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans.ops import neural_memory

SEGMENT, CHUNK, LENGTH = 8, 4, 3 * 8 + 6  # three segments, and a part of one that ends in a part of a chunk
MEMORIES = {
    "default": MemoryConfig(depth=2, expansion=2, chunk_size=CHUNK),
    "linear": MemoryConfig(depth=1, chunk_size=CHUNK, residual=False),
    "deep": MemoryConfig(depth=4, expansion=2, chunk_size=CHUNK, gates_per_layer=False),
    "surprise alone": MemoryConfig(depth=2, expansion=2, chunk_size=CHUNK, momentum=False, forgetting=False),
    "recurrence": MemoryConfig(depth=2, expansion=2, chunk_size=1),
}
CASES = [(v, m) for v in VARIANTS for m in MEMORIES if v in WITH_MEMORY or m == "default"]


def random_model(variant: str, memory: str) -> LanguageModel:
    """In float64, every parameter away from where training starts it."""
    config = of_variant(
        variant, vocab_size=11, dim=16, n_layers=2, n_heads=2, persistent_tokens=3, segment_len=SEGMENT, window=6,
        memory=MEMORIES[memory],
    )  # fmt: skip
    model = LanguageModel(config).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return model


def embedded(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, LENGTH, 16, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("variant", "memory"), CASES)
def test_no_output_depends_on_a_later_token(variant, memory):
    model, x = random_model(variant, memory), embedded()
    y, _ = model.mix(x, model.start(1))
    for t in range(SEGMENT, 2 * SEGMENT + 1):
        (earlier,) = torch.autograd.grad((y[:, :t] * torch.randn_like(y[:, :t])).sum(), x, retain_graph=True)
        assert earlier[:, t:].abs().max() == 0, f"an output before {t} depends on a token from {t} on"
        assert earlier[:, t - 1].abs().max() > 0
        (own,) = torch.autograd.grad(y[:, t].square().sum(), x, retain_graph=True)
        assert own[:, t].abs().max() > 0


@pytest.mark.parametrize(("variant", "memory"), CASES)
def test_nothing_crosses_the_batch(variant, memory):
    model, x = random_model(variant, memory), embedded(batch=3)
    (gradient,) = torch.autograd.grad(model.mix(x, model.start(3))[0][1].square().sum(), x)
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[1].abs().max() > 0


@pytest.mark.parametrize(("variant", "memory"), [(v, m) for v, m in CASES if v in WITH_MEMORY])
def test_every_write_changes_a_later_output(variant, memory):
    """By the derivative of the outputs after t by the step size of t alone, past every window and segment."""
    steps = []

    def record(q, k, v, theta, *rest, **switches):
        steps.extend(theta if isinstance(theta, tuple) else [theta])
        return neural_memory(q, k, v, theta, *rest, **switches)

    model = random_model(variant, memory)
    for module in model.modules():
        if isinstance(module, NeuralMemory):
            module.operator = record
    y, _ = model.mix(embedded(), model.start(1))
    of_tokens = [theta for theta in steps if theta.shape[2] != 3]  # not those of the persistent tokens
    gradients = torch.autograd.grad(y[:, -1].square().sum(), of_tokens)
    for theta, gradient in zip(of_tokens, gradients, strict=True):
        assert (gradient.abs().amax((0, 1)) > 0).all(), (
            f"one of {theta.shape[2]} writes leaves no trace in the last output"
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_shared_tensor_starts_equal_in_every_variant(variant):
    one, other = (LanguageModel(of_variant(v), seed=3).state_dict() for v in (variant, "mac"))
    shared = [name for name in one if name in other and one[name].shape == other[name].shape]
    assert len(shared) > 6
    for name in shared:
        if ".initial." in name and variant.startswith("ttt"):  # drawn alike, with TTT's standard deviation of 0.02
            torch.testing.assert_close(one[name] / 0.02, other[name] / (other[name].shape[-1] ** -0.5))
        else:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_another_seed_starts_elsewhere():
    one, other = (LanguageModel(ModelConfig(), seed=seed).state_dict() for seed in (0, 1))
    drawn = [name for name, x in one.items() if x.ndim > 1 and x.numel() and not name.endswith("gates.weight")]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
