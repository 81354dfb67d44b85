"""The layer equals the `NeuralMemory` of titans-pytorch 0.5.5, given its weights: outputs and gradients, in float64.

Its two pre-norms are applied outside, for here a block norms what it mixes. With one head it has no output projection:
ours is then the identity.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peers import peer
from torch import nn

from titans.mixers.lmm.layer import NeuralMemory
from titans.mixers.mac import MacConfig
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.presets import PRESETS

titans_pytorch = peer("titans_pytorch")

DIM, TOLERANCE = 8, 1e-9
#: A setting of theirs, and what it is called here: of the memory, and of the model.
SETTINGS = {
    "usual": ({}, {}, {}),
    "no momentum": ({"momentum": False}, {"momentum": False}, {}),
    "plain MLP": ({"mem_model_norm_add_residual": False}, {"residual": False, "gain": "none"}, {}),
    "SiLU on q, k and v": ({"activation": nn.SiLU()}, {}, {"qkv_activation": "silu"}),
    "largest step 0.3": ({"default_step_transform_max_lr": 0.3}, {"theta_scale": 0.3}, {}),
}


def preset(chunk: int, every: int, heads: int, depth: int, memory=(), model=()) -> ModelConfig:
    """The preset at another size, with the step's scale for that chunk."""
    values = PRESETS["titans-pytorch"] | dict(model)
    changes = {"theta_scale": 1.0} | dict(memory)
    changes["theta_scale"] *= chunk / 2
    config = MemoryConfig(**values["memory"] | {"chunk_size": chunk, "update_every": every, "depth": depth} | changes)
    if heads == 1:
        config = dataclasses.replace(config, output_gate="none")
    mac = MacConfig(**values.pop("mac"))
    values = values | {"memory": config, "settings": (mac,), "segment_len": chunk}
    return ModelConfig(**values | {"dim": DIM, "n_heads": heads})


def their_memory(heads: int, depth: int, chunk: int | None, every: int, **settings):
    """Theirs, in float64, with parameters that are not the initial ones."""
    theirs = titans_pytorch.NeuralMemory(
        dim=DIM, dim_head=DIM // heads, heads=heads, chunk_size=every, batch_size=chunk,
        default_model_kwargs={"depth": depth, "expansion_factor": 4.0}, **settings,
    ).double()  # fmt: skip
    for p in theirs.parameters():  # not in place: the initial weights of several heads share their storage
        p.data = torch.randn(p.shape, dtype=p.dtype) * DIM**-0.5
    for norm in (theirs.retrieve_norm, theirs.store_norm):
        norm.weight.data += 1
    for gate in (theirs.to_adaptive_step[0], theirs.to_decay_factor[0]):
        gate.bias.data -= 4  # where gates are near 1/2 its gradient grows until rounding is all that is compared
    return theirs


def in_our_names(theirs, of) -> dict[str, torch.Tensor]:
    """What `of` gives for each of their parameters, under the name and in the layout that it has in our layer."""
    named = {}
    for ours, projection in {"q": theirs.to_queries, "k": theirs.to_keys, "v": theirs.to_values}.items():
        linear = projection[0] if isinstance(projection, nn.Sequential) else projection
        named[f"{ours}.linear.weight"] = of(linear.weight)
    gates = [gate[0] for gate in (theirs.to_adaptive_step, theirs.to_momentum, theirs.to_decay_factor) if gate]
    named |= {f"gates.{part}": torch.cat([of(getattr(g, part)) for g in gates]) for part in ("weight", "bias")}
    *gain, matrices = _gain_and_matrices(theirs)
    named |= {f"initial.{i}": of(w).mT for i, w in enumerate(matrices)}
    named |= {f"initial.{len(matrices)}": of(w) for w in gain}
    if theirs.heads > 1:
        named |= {"gate.weight": of(theirs.retrieve_gate[0].weight), "out.weight": of(theirs.combine_heads.weight)}
    return named


def _gain_and_matrices(theirs):
    by_name = dict(zip(theirs.memory_model_parameter_names, theirs.memory_model_parameters, strict=True))
    gain = [by_name.pop("norm.gamma")] if "norm.gamma" in by_name else []
    return [*gain, list(by_name.values())]


def our_memory(theirs, config: ModelConfig) -> NeuralMemory:
    """Ours with their weights: every one of ours is one of theirs, but for an identity."""
    ours = NeuralMemory(config).double()
    identity = {} if theirs.heads > 1 else {"out.weight": torch.eye(DIM, dtype=torch.float64)}
    ours.load_state_dict(in_our_names(theirs, lambda p: p.detach()) | identity)
    return ours


def gradients_of(y: torch.Tensor, outside: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Backward from a fixed random projection of the output; the gradients by what is outside the layer."""
    for p in outside.values():
        p.grad = None
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)).sum().backward()
    return {name: p.grad for name, p in outside.items()}


def assert_equal(theirs, config: ModelConfig, time: int) -> None:
    """Outputs, and gradients by the input, the pre-norms and every shared parameter."""
    ours = our_memory(theirs, config)
    x = torch.randn(2, time, DIM, dtype=torch.float64, requires_grad=True)
    outside = {"x": x, "store_norm": theirs.store_norm.weight, "retrieve_norm": theirs.retrieve_norm.weight}
    expected, _ = theirs(x)
    found, _ = ours(theirs.store_norm(x), ours.start(2), asking=theirs.retrieve_norm(x))
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    wanted = gradients_of(expected, outside) | in_our_names(theirs, lambda p: p.grad)
    got = gradients_of(found, outside) | {name: p.grad for name, p in ours.named_parameters()}
    for name, gradient in wanted.items():
        error = (got[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1)
        assert error < TOLERANCE, f"{name}: {error}"


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("chunk", "every"), [(4, 4), (8, 2), (12, 4), (3, 1), (1, 1)])
@pytest.mark.parametrize("time", [25, 24])
def test_the_layer_equals_theirs(heads, depth, chunk, every, time):
    assert_equal(their_memory(heads, depth, chunk, every), preset(chunk, every, heads, depth), time)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("heads", [1, 2])
def test_settings_that_both_have(setting, heads):
    settings, memory, model = SETTINGS[setting]
    assert_equal(their_memory(heads, 2, 8, 4, **settings), preset(8, 4, heads, 2, memory, model), 21)


def test_a_base_that_is_never_refreshed_is_one_chunk():
    assert_equal(their_memory(2, 2, None, 4), preset(32, 4, 2, 2), 30)
