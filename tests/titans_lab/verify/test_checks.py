"""Every check passes what is right in each precision, and fails what is wrong."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import titans_lab.verify.checks
from titans.mixers.mac import MacConfig
from titans.mixers.parts import Projection
from titans.models.config import MemoryConfig, ModelConfig
from titans.ops import neural_memory
from titans_lab.verify.__main__ import answer
from titans_lab.verify.checks import CHECKS, CheckCase, worst_error
from titans_lab.verify.draw import drawn_model, drawn_tokens, memories, recorded, redrawn, tensors
from titans_lab.verify.reduced import checks_of, for_operator

PRECISIONS = ("float64", "float32", "bfloat16")
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


def tiny(variant: str = "lmm", mac: MacConfig = MacConfig(), **memory: Any) -> ModelConfig:  # noqa: B008
    switches = MemoryConfig(**{"depth": 2, "expansion": 2, "chunk_size": 4} | memory)
    return ModelConfig(variant=variant, dim=16, n_heads=2, segment_len=8, memory=switches, settings=(mac,))


def error(check: str, config: ModelConfig, precision: str) -> float:
    seed = int(torch.randint(2**31, ()))
    return CHECKS[check][0](CheckCase(config, precision, torch.device("cpu"), seed))


def passes(check: str, config: ModelConfig, precision: str) -> bool:
    return error(check, config, precision) <= CHECKS[check][1][precision]


CASES = {
    "transformer": tiny("transformer"),
    "linear": tiny(depth=1, chunk_size=1, residual=False),
    "two chunks": tiny(chunk_size=2, eval_chunk_size=4, gain="fast", update_every=2, gate_span="group"),
    "lagging": tiny("mag", read="previous", gate_channels="all", outer_gradient=False, reset_momentum=True),
    "window": tiny(window=6, objective="huber", update_every=2),
    "muon": tiny(inner_optimizer="muon", update_every=2, window=3, objective="lp", objective_power=2.5),
    "climbing": tiny("mal", depth=3, ascent=True, written="last", activation="relu", gates_per_layer=False),
    "other context": tiny("mac", MacConfig(write="input", order="write_first", long_term_tokens=2, positions="psh")),
}


@pytest.mark.parametrize("name", CASES)
def test_correct_models_pass_in_every_precision(name: str):
    found = {(check, p): error(check, CASES[name], p) for check in checks_of(CASES[name]) for p in PRECISIONS}
    assert not {key: worst for key, worst in found.items() if not worst <= CHECKS[key[0]][1][key[1]]}
    assert all(worst > 0 for (check, p), worst in found.items() if check != "causality" and p != "bfloat16")


def test_the_reference_is_computed_once_for_all_precisions(capsys: pytest.CaptureFixture[str]):
    slow = (titans_lab.verify.checks.recurrences, titans_lab.verify.checks.by_token)
    before = [each.cache_info().misses for each in slow]
    config = tiny(eval_chunk_size=2)
    answer(CheckCase(config, "", torch.device("cpu"), int(torch.randint(2**31, ()))), PRECISIONS)
    assert [each.cache_info().misses - count for each, count in zip(slow, before, strict=True)] == [2, 2]


def gates(function: Callable[[Tensor], Tensor], gate: Any) -> Any:
    return tuple(map(function, gate)) if isinstance(gate, tuple) else function(gate)


def forgets_too_little(q, k, v, theta, eta, alpha, *rest, **switches):
    return neural_memory(q, k, v, theta, eta, gates(lambda x: 0.5 * x, alpha), *rest, **switches)


def carries_too_much(q, k, v, theta, eta, *rest, **switches):
    return neural_memory(q, k, v, theta, gates(lambda x: 0.5 + 0.5 * x, eta), *rest, **switches)


def reads_before_the_write(q, *rest, **switches):
    y, end = neural_memory(q, *rest, **switches)
    early, _ = neural_memory(torch.cat((q[:, :, 1:], q[:, :, :1]), 2), *rest, **switches)
    return torch.cat((y[:, :, :1], early[:, :, :-1]), 2), end


def forgets_the_gradient(*arguments, **switches):
    given = inspect.signature(neural_memory).bind(*arguments, **switches).arguments
    return neural_memory(**given | {"outer_gradient": False})


def hands_on_the_start(q, k, v, theta, eta, alpha, state, *rest, **switches):
    return neural_memory(q, k, v, theta, eta, alpha, state, *rest, **switches)[0], state


WRONG = [
    forgets_too_little, carries_too_much, reads_before_the_write, forgets_the_gradient, hands_on_the_start,
]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_operator_fails_in_every_precision(monkeypatch: pytest.MonkeyPatch, wrong: Any, precision: str):
    monkeypatch.setattr("titans.mixers.lmm.layer.neural_memory", wrong)
    assert not passes("operator", tiny(), precision)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_operator_makes_a_wrong_model(monkeypatch: pytest.MonkeyPatch, wrong: Any, precision: str):
    monkeypatch.setattr("titans.mixers.lmm.layer.neural_memory", wrong)
    assert not passes("model", tiny(), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stream_that_forgets_its_tail_fails(monkeypatch: pytest.MonkeyPatch, precision: str):
    whole = Projection.forward
    monkeypatch.setattr(Projection, "forward", lambda self, x, tail=None: whole(self, x))
    assert not passes("streaming", tiny(), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_glimpse_of_the_future_fails(precision: str):
    assert not passes("causality", tiny("mac", MacConfig(read="end_leaks")), precision)
    assert passes("causality", tiny("mac"), precision)


def test_what_is_wrong_in_evaluation_alone_fails(monkeypatch: pytest.MonkeyPatch):
    def wrong_in_chunks_of_8(*arguments, **switches):
        given = inspect.signature(neural_memory).bind(*arguments, **switches).arguments
        return (forgets_too_little if given["chunk_size"] == 8 else neural_memory)(**given)

    monkeypatch.setattr("titans.mixers.lmm.layer.neural_memory", wrong_in_chunks_of_8)
    assert passes("operator", tiny(), "float64")
    assert not passes("operator", tiny(eval_chunk_size=8), "float64")


def test_a_number_that_is_none_is_no_small_error():
    one = torch.ones(3)
    assert worst_error([one * 3, one], [one * 2, one]) == 0.5
    assert worst_error([one * 0.25], [one * 0.5]) == 0.25
    assert math.isnan(worst_error([one, one * math.nan, one * 9], [one] * 3))
    assert not worst_error([one], [one * math.inf]) <= 1e9


def test_a_call_is_redrawn_at_any_length_from_what_the_layer_gave():
    config = for_operator(tiny("mag", gate_channels="alpha", gain="learned", read="previous"))
    model = drawn_model(config, 3, training=True)
    given = recorded(model, drawn_tokens(config, 9, 3))
    assert memories(model)[0].operator is neural_memory
    assert given["state"].lagged[0].shape == given["state"].weights[0].shape
    assert any(x.abs().max() > 0 for x in given["state"].momentum)
    call = redrawn(given, 5, 3)
    assert call["q"].shape == (2, 2, 5, 8)
    assert call["alpha"][1].shape == (2, 2, 5, 16)
    assert {name: call[name] for name in call if not tensors(call[name])} == {
        name: given[name] for name in given if not tensors(given[name])
    }
    for name in ("q", "theta", "alpha", "state"):
        values = torch.cat([x.flatten() for x in tensors(given[name])]).unique()
        assert all(torch.isin(x, values).all() for x in tensors(call[name]))
        assert torch.cat([x.flatten() for x in tensors(call[name])]).unique().numel() > 5
    again, other = (tensors(redrawn(given, 5, seed)) for seed in (3, 4))
    assert all(map(torch.equal, again, tensors(call)))
    assert not all(map(torch.equal, other, tensors(call)))
