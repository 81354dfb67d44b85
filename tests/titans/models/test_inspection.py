"""The figures of a memory's inside, against token-by-token weights and gradients by autograd."""

from __future__ import annotations

import functools

import pytest
import torch

from titans.mixers.lmm.layer import NeuralMemory
from titans.mixers.mac import MacConfig
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.inspection import MemoryDiagnostics, inspect
from titans.models.language_model import LanguageModel
from titans.ops import neural_memory, read_memory
from titans.ops.neural_memory.diagnostics import join
from titans.ops.neural_memory.muon import newton_schulz
from titans.ops.neural_memory.state import Switches, by_layer

BATCH, LENGTH = 2, 21
MEMORIES = {
    "default": MemoryConfig(chunk_size=4),
    "linear": MemoryConfig(depth=1, residual=False, chunk_size=1),
    "one chunk": MemoryConfig(depth=3, expansion=1, chunk_size=24, activation="silu", loss="mean"),
    "shared gates": MemoryConfig(depth=2, chunk_size=8, gates_per_layer=False, loss="half", momentum=False),
    "channels": MemoryConfig(depth=2, chunk_size=4, gate_channels="all", activation="relu", residual=False),
    "some channels": MemoryConfig(depth=2, chunk_size=8, gate_channels="alpha", gain="fast", reset_momentum=True),
    "grouped": MemoryConfig(depth=2, chunk_size=8, update_every=4, gate_span="group", gain="fast", forgetting=False),
    "lagging": MemoryConfig(depth=3, expansion=1, chunk_size=4, read="previous", gate_span="chunk"),
    "chunk read": MemoryConfig(depth=1, chunk_size=4, read="chunk", gain="learned", ascent=True),
    "first": MemoryConfig(depth=2, chunk_size=4, written="first"),
    "last": MemoryConfig(depth=3, expansion=1, chunk_size=4, written="last", gain="learned"),
    "other chunk": MemoryConfig(depth=2, chunk_size=4, eval_chunk_size=8),
    "huber": MemoryConfig(depth=2, chunk_size=4, objective="huber", huber_threshold=0.3),
    "lp": MemoryConfig(depth=1, residual=False, chunk_size=1, objective="lp", objective_power=1.5, loss="half"),
    "window": MemoryConfig(depth=2, chunk_size=4, window=3),
    "wide window": MemoryConfig(depth=2, chunk_size=4, update_every=2, window=9, objective="huber", ascent=True),
    "muon": MemoryConfig(depth=2, chunk_size=4, update_every=2, inner_optimizer="muon", gate_channels="all", window=3),
    "constant": MemoryConfig(depth=2, chunk_size=4, outer_gradient=False, initial="frozen"),
}
MIXERS = {
    "mac": {"variant": "mac"},
    "mac, persistent written": {"variant": "mac", "persistent_written": True, "settings": (MacConfig(reset=True),)},
    "mac, end": {"variant": "mac", "settings": (MacConfig(read="end_leaks", long_term_tokens=3),)},
    "mac, input": {"variant": "mac", "settings": (MacConfig(order="write_first", write="input"),)},
    "mag": {"variant": "mag"},
    "mal": {"variant": "mal"},
}


def random_model(memory=MEMORIES["default"], variant="lmm", **values):
    """As training starts it, plus noise that leaves no parameter at a special value."""
    sizes = {
        "vocab_size": 11,
        "dim": 12,
        "n_layers": 2,
        "n_heads": 2,
        "persistent_tokens": 3,
        "segment_len": 8,
        "window": 6,
    }
    config = ModelConfig(variant=variant, memory=memory, **sizes | values)
    model = LanguageModel(config).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


def some_tokens():
    return torch.randint(0, 11, (BATCH, LENGTH))


def memories_of(model):
    return [module for module in model.modules() if isinstance(module, NeuralMemory)]


def calls_of(memory, model, tokens):
    """What the memory hands to its operator for the tokens of the sequence, call by call."""
    calls = []

    def spy(q, k, *rest, **switches):
        if k.shape[0] == BATCH and q is not k:  # neither the persistent tokens nor those settled ahead of time
            calls.append((k, *rest, switches))
        return neural_memory(q, k, *rest, **switches)

    memory.operator = spy
    with torch.no_grad():
        model(tokens)
    memory.operator = neural_memory
    return calls


def surprise(weights, k, v, bound, how):
    """Inner loss `[batch, heads]` of one token at these weights, and its gradient by each."""
    weights = [w.detach().requires_grad_() for w in weights]
    error = read_memory(weights, k[:, :, None], how.activation, how.residual, how.gain)[:, :, 0] - v
    each = (error**2 + 1e-6).sqrt() ** how.power if how.objective == "lp" else error.square()
    total = each.sum(-1)
    if bound is not None:
        far = error.norm(dim=-1)
        total = torch.where(far < bound, total, 2 * bound * far - bound**2)
    loss = {"sum": total, "mean": total / v.shape[-1], "half": 0.5 * total}[how.loss]
    return loss.detach(), torch.autograd.grad(loss.sum(), weights)


def norm(x):
    return x.flatten(2).norm(dim=-1)


def spread(gate, like):
    """A gate of one token, to multiply a layer's weights with."""
    return gate[:, :, None] if gate.dim() == 3 else gate.reshape(*gate.shape, *[1] * (like.dim() - 2))


def brute_force(first, k, v, theta, eta, alpha, state, *form, opening, threshold, gamma, recent, **switches):
    """The figures of each token of a call, token by token; `first`: the weights before all of them."""
    how = Switches(*form, **switches)
    weights, momentum, found = list(state.weights), list(state.momentum), []
    gates = [by_layer(gate, len(weights)) for gate in (theta, eta, alpha)]
    anchor = None if opening is None else list(opening.weights)
    before = (None, None, None) if recent is None else (*recent, None)[:3]
    keys, values, bounds = (
        x if old is None or x is None else torch.cat((old, x), 2)
        for old, x in zip(before, (k, v, threshold), strict=True)
    )
    for t in range(k.shape[2]):
        place = t % how.chunk_size
        if place == 0 and opening is None:
            anchor = list(weights)
            momentum = [torch.zeros_like(m) for m in momentum] if how.reset_momentum else momentum
        bound = None if threshold is None else threshold[:, :, t]
        loss, taken = surprise(anchor, k[:, :, t], v[:, :, t], bound, how)
        _, true = surprise(weights, k[:, :, t], v[:, :, t], bound, how)
        summed, now = list(taken), t + keys.shape[2] - k.shape[2]
        for back in range(how.window if how.window > 1 else 0):
            old = now - back
            own = surprise(
                anchor, keys[:, :, old], values[:, :, old], bounds if bounds is None else bounds[:, :, old], how
            )
            share = gamma[:, :, t, back]
            summed = [(s if back else 0) + spread(share, g) * g for s, g in zip(summed, own[1], strict=True)]
        layers = []
        for i, w in enumerate(weights):
            own = 1.0 if how.gain and i == len(weights) - 1 else 0.0
            relative = norm(own + w) / norm(own + first[i].expand_as(w))
            at = [torch.zeros_like(loss) if gate[i] is None else gate[i][:, :, t] for gate in gates]
            means = [gate.mean(-1) if gate.dim() == 3 else gate for gate in at]
            figures = [norm(taken[i]), *means, relative, norm(taken[i] - true[i]) / norm(true[i])]
            if how.writes(i):
                step, carry, forget = (spread(gate, w) for gate in at)
                carry, gone = carry if place % how.update_every == 0 else 1, t - place % how.update_every
                group = gates[0][i][:, :, gone : gone + how.update_every].sum(-1)[..., None, None]
                share = step / group if how.optimizer == "muon" else step
                momentum[i] = carry * momentum[i] - (-share if how.ascent else share) * summed[i]
                if (place + 1) % how.update_every == 0:
                    move = group * newton_schulz(momentum[i]) if how.optimizer == "muon" else momentum[i]
                    weights[i] = (1 - forget) * w + move
            else:
                figures = [x if x is relative else torch.full_like(x, torch.nan) for x in figures]
            layers.append(torch.stack(figures))
        found.append(MemoryDiagnostics(loss, *torch.stack(layers, 2)))
    return [MemoryDiagnostics(*(x.unsqueeze(-1) for x in figures)) for figures in found]


def assert_as_by_brute_force(model):
    model.eval()
    tokens = some_tokens()
    found = inspect(model, tokens)
    assert list(found) == [0, 1]
    for memory, figures in zip(memories_of(model), found.values(), strict=True):
        first = [w.detach() for w in memory.initial]
        calls = calls_of(memory, model, tokens)
        one_by_one = [each for *call, switches in calls for each in brute_force(first, *call, **switches)]
        expected = join(one_by_one)
        assert expected.loss.shape == (BATCH, 2, LENGTH)
        for name, mine, other in zip(MemoryDiagnostics._fields, figures, expected, strict=True):
            told = functools.partial("{}: {}".format, name)
            torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-10, equal_nan=True, msg=told)
    return found


@pytest.mark.parametrize("memory", MEMORIES)
def test_any_memory(memory):
    assert_as_by_brute_force(random_model(MEMORIES[memory]))


@pytest.mark.parametrize("mixer", MIXERS)
def test_any_mixer(mixer):
    assert_as_by_brute_force(random_model(**MIXERS[mixer]))


def test_a_model_without_memory_has_nothing_inside():
    assert inspect(random_model(variant="transformer"), some_tokens()) == {}


def test_a_gradient_is_not_stale_at_a_chunks_start_before_a_write_and_at_chunk_1():
    tokens = some_tokens()
    for stale in (x.staleness for x in inspect(random_model(MemoryConfig(chunk_size=1)), tokens).values()):
        assert (stale == 0).all()
    found = inspect(random_model(MemoryConfig(chunk_size=8, update_every=4)), tokens)
    fresh = torch.arange(LENGTH) % 8 < 4
    for stale in (x.staleness for x in found.values()):
        assert (stale[..., fresh] == 0).all()
        assert (stale[..., ~fresh] > 0).all()


def test_staleness_in_float32_is_that_in_float64():
    model, tokens = random_model(MemoryConfig(chunk_size=4, theta_scale=1e-4)), some_tokens()
    exact = inspect(model, tokens)
    for mine, other in zip(inspect(model.float(), tokens).values(), exact.values(), strict=True):
        assert 0 < other.staleness[..., 1].max() < 0.1
        assert (mine.staleness.double() - other.staleness).norm() < 0.02 * other.staleness.norm()


def test_the_norm_of_weights_that_start_at_zero_is_unknown():
    found = inspect(random_model_at_zero(), some_tokens())
    assert all(x.weight_norm.isnan().all() and x.gradient_norm.isfinite().all() for x in found.values())


def random_model_at_zero():
    model = random_model(MemoryConfig(depth=1, residual=False, initial="zero"))
    for memory in memories_of(model):
        memory.initial[0].data.zero_()
    return model


def test_the_model_is_left_as_it_was():
    model, tokens = random_model(), some_tokens()
    model.blocks[1].eval()
    memories_of(model)[0].operator = functools.partial(neural_memory)  # one of its own
    before, generator = condition(model), torch.get_rng_state()
    logits = model(tokens)
    found = inspect(model, tokens)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(model(tokens), logits)
    assert all(p.grad is None for p in model.parameters())
    assert not any(x.requires_grad for figures in found.values() for x in figures)


def test_the_model_is_left_as_it_was_where_it_fails():
    def failing(*_, **__):
        raise ArithmeticError("on purpose")

    model = random_model(persistent_tokens=0)
    memories_of(model)[1].operator = failing
    before = condition(model)
    with pytest.raises(ArithmeticError, match="on purpose"):
        inspect(model, some_tokens())
    assert condition(model) == before


def condition(model):
    """All of a model that looking inside could leave changed."""
    modes = [module.training for module in model.modules()]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    return modes, hooks, [memory.operator for memory in memories_of(model)]
