"""Outputs, states and outer gradients stay finite where other implementations' do not; see docs/stability.md."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from memory_case import leaves, memory_arguments, results

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel, initialise
from titans.ops import neural_memory

STEP = 0.1 / 16  # of the layer at the start: `theta_scale` over the chunk, to be multiplied by 1 - eta
VARIANTS = ["lmm", "mac", "mag", "mal"]


def assert_finite(named):
    wrong = [name for name, x in named.items() if x is not None and not torch.isfinite(x).all()]
    assert not wrong, wrong


def arguments_of(depth, time=200, *, eta=0.5, alpha=2e-5, dim=16):
    """Unit keys and queries, and gates as the layer makes them: the step makes up for momentum."""
    arguments = memory_arguments(time, depth, dim=dim, batch=1, per_layer=False, dtype=torch.float32)
    for name in ("q", "k"):
        arguments[name] = F.normalize(arguments[name].detach(), dim=-1).requires_grad_()
    for name, value in (("eta", eta), ("alpha", alpha), ("theta", STEP * (1 - eta))):
        value = value.expand_as(arguments[name]) if torch.is_tensor(value) else torch.tensor(value)
        arguments[name] = value.float().expand_as(arguments[name]).clone().requires_grad_()
    return arguments


def sometimes_open(time=200):
    """A gate that is 0 or 1 at random."""
    return (torch.rand(1, 2, time) < 0.5).float()


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("eta", [0.0, 1.0, "both"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, "both"])
def test_gates_at_their_ends(depth, residual, eta, alpha):
    eta, alpha = (sometimes_open() if gate == "both" else gate for gate in (eta, alpha))
    assert_finite(results(neural_memory, arguments_of(depth, eta=eta, alpha=alpha), residual=residual))


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("keys", ["zero", "constant", "some zero"])
@pytest.mark.parametrize("time", [5, 400])
def test_keys_without_length_and_keys_without_variety(depth, residual, keys, time):
    arguments = arguments_of(depth, time)
    k = arguments["k"].detach()
    k = {"zero": 0 * k, "constant": k[:, :, :1].expand_as(k), "some zero": k * (torch.rand(time, 1) < 0.5)}[keys]
    assert_finite(results(neural_memory, arguments | {"k": k.clone().requires_grad_()}, residual=residual))


@pytest.mark.parametrize("chunk_size", [16, 64])
@pytest.mark.parametrize("time", [1, 15])
def test_a_sequence_shorter_than_a_chunk(chunk_size, time):
    assert_finite(results(neural_memory, arguments_of(4, time), residual=True, chunk_size=chunk_size))


def layer_results(tokens, **memory):
    """What a layer as training starts it gives for tokens `[1, time, 32]`, and its outer gradients."""
    layer = NeuralMemory(ModelConfig(dim=32, n_heads=2, memory=MemoryConfig(**memory)))
    initialise(layer, seed=0)
    tokens = tokens.clone().requires_grad_()
    y, stream = layer(tokens, layer.start(1))
    (y * torch.randn_like(y)).sum().backward()
    state = {f"weights[{i}]": w for i, w in enumerate(stream.state.weights)}
    return {"y": y, "d/d tokens": tokens.grad} | state | {f"d/d {n}": p.grad for n, p in layer.named_parameters()}


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("tokens", ["zero", "padded", "constant"])
def test_the_layer_on_tokens_without_length_or_variety(depth, residual, tokens):
    x = torch.randn(1, 300, 32)
    x = {"zero": 0 * x, "padded": F.pad(x[:, :100], (0, 0, 50, 150)), "constant": x[:, :1].expand_as(x)}[tokens]
    assert_finite(layer_results(x, depth=depth, residual=residual))


@pytest.mark.parametrize("logit", [-200.0, 200.0])
@pytest.mark.parametrize("gate", ["eta_bias", "alpha_bias"])
def test_the_layer_with_saturated_gates(logit, gate):
    assert_finite(layer_results(torch.randn(1, 300, 32), depth=4, **{gate: logit}))


def trained(variant, steps, precision, **memory):
    """Losses and gradient norms of the first steps of training on random tokens."""
    config = ModelConfig(variant=variant, dim=32, n_layers=1, n_heads=2, window=64, memory=MemoryConfig(**memory))
    model, tokens = LanguageModel(config), torch.randint(0, 256, (1, 129))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        yield {f"loss {step}": loss} | {f"d/d {name}, {step}": p.grad for name, p in model.named_parameters()}
        optimizer.step()


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # RMSNorm says that bfloat16 beside float32 is not its fastest way
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_steps_of_training_at_depth_4(variant, precision):
    for named in trained(variant, 4, precision, depth=4):
        assert_finite(named)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_outer_gradient_by_the_keys_stays_small(depth, seed):
    layer = NeuralMemory(ModelConfig(dim=64, n_heads=2, memory=MemoryConfig(depth=depth)))
    initialise(layer, seed)
    k = F.normalize(torch.randn(1, 2, 1024, 32), dim=-1).requires_grad_()
    layer.operator = lambda q, _, *rest, **how: neural_memory(q, k, *rest, **how)
    y, _ = layer(torch.randn(1, 128, 64).repeat_interleave(8, 1), layer.start(1))
    (y * torch.randn_like(y)).sum().backward()
    assert k.grad.abs().max() < 1e3


def test_removing_a_write_changes_what_is_read_long_after():
    arguments = arguments_of(4, 1000)
    y, _ = neural_memory(**arguments, residual=True)
    theta = arguments["theta"].detach().clone()
    theta[:, :, 3] = 0
    without, _ = neural_memory(**arguments | {"theta": theta}, residual=True)
    assert (y - without)[:, :, -16:].abs().max() > 1e-4
    assert leaves(arguments)["theta"][:, :, 3].min() > 0
