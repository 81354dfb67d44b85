"""Any switches of the models, drawn together: whole sequences against one token at a time, and no look ahead."""

from __future__ import annotations

import copy
import itertools
import os
import zlib
from typing import Any

import pytest
import torch
from drawn_models import OWN, assembled, configurations, options, random_model, switches, with_the_reference
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from titans.mixers.mac import MacConfig
from titans.models.config import MemoryConfig, ModelConfig, RecurrentConfig
from titans.models.language_model import LanguageModel

LENGTH = 17
#: A memory that climbs its loss can blow up; past this, rounding is all that is compared.
LARGEST = 1e4
#: Without shrinking, which takes minutes here: the model that is shown is the one that was drawn.
DRAWN = settings(
    max_examples=int(os.environ.get("TITANS_DRAWN_MODELS", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def token_by_token(model, tokens):
    state, parts = model.start(tokens.shape[0]), []
    for token in tokens.split(1, 1):
        y, state = model.advance(token, state)
        parts.append(y)
    return torch.cat(parts, 1)


def results(model, logits):
    """Logits, and the gradient of a projection of them by every parameter."""
    generator = torch.Generator().manual_seed(1)
    total = (logits * torch.randn(logits.shape, generator=generator, dtype=logits.dtype)).sum()
    names, parameters = zip(
        *((n, p) for n, p in model.named_parameters() if p.requires_grad and p.numel()), strict=True
    )
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    zeros = (torch.zeros_like(p) for p in parameters)
    found = (zero if g is None else g for g, zero in zip(gradients, zeros, strict=True))
    return {"logits": logits.detach(), **dict(zip(names, found, strict=True))}


def drawn(config, seed):
    generator = torch.Generator().manual_seed(seed)
    model = random_model(config, generator)
    return model, torch.randint(0, config.vocab_size, (2, LENGTH), generator=generator)


@DRAWN
@given(configurations(), st.integers(0, 2**32), st.booleans())
def test_a_whole_sequence_equals_the_reference_token_by_token(config, seed, training):
    model, tokens = drawn(config, seed)
    model.train(training)
    oracle = with_the_reference(copy.deepcopy(model))
    true, found = results(oracle, token_by_token(oracle, tokens)), results(model, model(tokens))
    assume(all(x.abs().max() < LARGEST for x in true.values()))
    for name, x in true.items():
        assert (found[name] - x).abs().max() <= 1e-9 * max(1, x.abs().max()), name


@DRAWN
@given(configurations(), st.integers(0, 2**32), st.data())
def test_no_output_depends_on_a_later_token(config, seed, data):
    model, _ = drawn(config, seed)
    x = torch.randn(1, LENGTH, config.dim, dtype=torch.float64, requires_grad=True)
    y, _ = model.mix(x, model.start(1))
    t = data.draw(st.integers(1, LENGTH - 1))
    (gradient,) = torch.autograd.grad((y[:, :t] * torch.randn_like(y[:, :t])).sum(), x)
    assume(gradient.isfinite().all())  # a memory that climbs its loss can blow up
    assert gradient[:, t:].abs().max() == 0
    assert gradient[:, t - 1].abs().max() > 0


BASE: dict[type, dict[str, Any]] = {
    ModelConfig: {
        "dim": 12,
        "n_heads": 2,
        "n_layers": 1,
        "vocab_size": 7,
        "segment_len": 12,
        "window": 5,
        "persistent_tokens": 3,
    },
    MemoryConfig: {"chunk_size": 3, "depth": 2, "expansion": 1, "alpha_bias": 0.0, "theta_scale": 0.05},
    **{kind: {} for kind in OWN},
}
#: What else has to be set, for the values of a field to be possible or to make a difference.
NEEDS: dict[str, dict[type, dict[str, Any]]] = {
    "variant": {ModelConfig: {"n_layers": 3}},
    "window": {ModelConfig: {"variant": "mag"}},
    "segment_len": {MemoryConfig: {"chunk_size": 2}},
    "order": {MacConfig: {"write": "input"}},
    "initial": {MemoryConfig: {"depth": 1}},
    "objective_power": {MemoryConfig: {"objective": "lp"}},
    "huber_threshold": {MemoryConfig: {"objective": "huber"}},
    "gamma_bias": {MemoryConfig: {"window": 2}},
    "update_every": {MemoryConfig: {"chunk_size": 6}},
    "gate_span": {MemoryConfig: {"chunk_size": 6, "update_every": 3}},
}
SIZES = {"vocab_size", "dim", "n_layers", "n_heads", "mlp_ratio", "theta_scale"}  # of one value here, or no switch
CHOICES = [
    (config, name) for config, name in switches()
    if name not in SIZES and config is not RecurrentConfig and not (config in OWN and len(options(config, name)) < 2)
]  # fmt: skip


def behaviour(config, name, value):
    """Logits in evaluation and their gradients, from parameters that models share by name and shape."""
    chosen = {section: {**values, **NEEDS.get(name, {}).get(section, {})} for section, values in BASE.items()}
    chosen[config][name] = value
    if config in OWN:
        chosen[ModelConfig]["variant"] = OWN[config]
    model = LanguageModel(assembled(chosen)).double().eval()
    with torch.no_grad():
        for path, p in model.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(path.encode()))
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.requires_grad)
    return results(model, model(torch.arange(2 * LENGTH).remainder(7).view(2, LENGTH)))


@pytest.mark.parametrize(("config", "name"), CHOICES, ids=[name for _, name in CHOICES])
def test_each_value_of_a_switch_makes_a_model_of_its_own(config, name):
    values = list(dict.fromkeys(options(config, name)))
    if name == "persistent_written":
        values.remove(None)  # it stands for one of the others
    assert len(values) > 1
    for one, other in itertools.combinations([behaviour(config, name, value) for value in values], 2):
        assert one.keys() != other.keys() or any(
            one[key].shape != other[key].shape or (one[key] - other[key]).abs().max() > 1e-9 for key in one
        )


def test_the_letter_of_the_paper_leaks():
    """What `mac.read` calls end_leaks does, or its name and the refusal to train with it would be empty words."""
    config = ModelConfig(
        variant="mac",
        dim=12,
        n_heads=2,
        segment_len=6,
        memory=MemoryConfig(chunk_size=3),
        settings=(MacConfig(read="end_leaks"),),
    )
    x = torch.randn(1, 6, 12, dtype=torch.float64, requires_grad=True)
    model = LanguageModel(config).double()
    (gradient,) = torch.autograd.grad(model.mix(x, model.start(1))[0][:, 0].square().sum(), x)
    assert gradient[:, 5].abs().max() > 0


@pytest.mark.parametrize(
    "memory",
    [
        MemoryConfig(chunk_size=3, depth=3, written="last"),
        MemoryConfig(chunk_size=3, depth=2, written="first", gate_channels="all"),
        MemoryConfig(chunk_size=3, depth=1, gain="learned"),
        MemoryConfig(chunk_size=3, depth=2, gain="fast", written="last"),
    ],
    ids=["last of three", "first, by channel", "a learned gain", "a fast gain and the last"],
)
def test_no_gate_is_idle(memory):
    """A layer that is not written has no gates, which would be parameters without a gradient."""
    model = random_model(ModelConfig(variant="lmm", dim=12, n_heads=2, memory=memory), torch.Generator().manual_seed(0))
    found = results(model, model(torch.randint(0, 256, (1, LENGTH))))
    gates = [x for name, x in found.items() if ".gates." in name]
    assert len(gates) == 4
    assert all((x.flatten(1).abs().amax(1) if x.dim() > 1 else x.abs()).min() > 0 for x in gates)
