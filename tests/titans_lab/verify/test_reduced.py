"""What stands for a model in a check is small, and has every switch of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from variants import VARIANTS, of_variant

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.presets import PRESETS
from titans_lab.run.config import build, flatten, plain
from titans_lab.verify.reduced import checks_of, for_model, for_operator, length, modes

SHRUNK = {
    "vocab_size", "n_layers", "n_heads", "dim", "mlp_ratio", "persistent_tokens", "segment_len", "window",
    "mac.long_term_tokens", "memory.chunk_size", "memory.eval_chunk_size", "memory.update_every",
    "memory.window", "memory.theta_scale", "memory.eta_bias", "memory.alpha_bias", "recurrent.chunk_size",
}  # fmt: skip


def values(config: ModelConfig) -> dict[str, Any]:
    return dict(flatten(plain(config)))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal"])
def test_every_preset_is_small_and_keeps_its_switches(name: str, variant: str):
    config = build(ModelConfig, dict(flatten(PRESETS[name])) | {"variant": variant})
    for reduced, most in ((for_operator(config), 64), (for_model(config), 8)):
        kept = values(config).items() - values(reduced).items()
        assert {key for key, _ in kept} <= SHRUNK
        assert reduced.head_dim == config.head_dim
        assert (reduced.n_layers, reduced.vocab_size, reduced.n_heads) == (1, 17, 2 if config.head_dim <= 64 else 1)
        assert max(reduced.memory.chunk_size, reduced.memory.update_every) <= most
        assert reduced.persistent_tokens == min(config.persistent_tokens, 3)


SIZES = [  # chunk in training, in evaluation, group
    (16, None, 1), (16, 16, 1), (16, 64, 1), (64, 16, 1), (64, None, 64), (128, None, 2), (96, None, 3), (64, 64, 64),
    (32, 128, 8), (128, 32, 32), (1, None, 1), (1, 64, 1), (64, 1, 1), (12, 6, 3), (2, None, 2), (100, 70, 10),
]  # fmt: skip


@pytest.mark.parametrize(("chunk", "other", "every"), SIZES)
@pytest.mark.parametrize("variant", ["lmm", "mac", "mag"])
def test_chunks_and_groups_keep_their_order(chunk: int, other: int | None, every: int, variant: str):
    memory = MemoryConfig(chunk_size=chunk, eval_chunk_size=other, update_every=every)
    config = ModelConfig(variant=variant, segment_len=2 * chunk * (other or 1), memory=memory)
    for reduced in (for_operator(config), for_model(config)):
        was = (1, every, chunk, other or chunk)
        now = (1, reduced.memory.update_every, reduced.memory.chunk_size, reduced.memory.eval_chunk_size or chunk)
        now = now if other else (*now[:3], now[2])
        assert [(a > b) - (a < b) for a in now for b in now] == [(a > b) - (a < b) for a in was for b in was]
        assert modes(reduced) == ((True,) if other in (None, chunk) else (True, False))


def test_a_short_chunk_stays_as_it_is():
    config = ModelConfig(memory=MemoryConfig(chunk_size=48, update_every=3), segment_len=96)
    assert for_operator(config).memory == dataclasses.replace(config.memory, theta_scale=0.1, alpha_bias=-4.0)
    assert for_operator(config).segment_len == 96


def test_a_wide_memory_gets_shorter_chunks_because_the_reference_keeps_all_weights():
    memory = MemoryConfig(depth=3, expansion=4, chunk_size=64)
    assert for_operator(ModelConfig(dim=128, n_heads=2, memory=memory)).memory.chunk_size == 16
    assert for_operator(ModelConfig(dim=64, n_heads=2, memory=memory)).memory.chunk_size == 64


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sequence_passes_two_segments_windows_and_chunks(variant: str):
    reduced = for_model(of_variant(variant, memory=MemoryConfig(eval_chunk_size=64)))
    passed = [reduced.memory.eval_chunk_size, reduced.window / 2] + ([reduced.segment_len] if variant == "mac" else [])
    assert length(reduced) > 2 * max(passed)
    assert length(reduced) % 2


def test_gates_are_set_where_they_matter_whatever_a_study_says():
    one, other = (
        MemoryConfig(alpha_bias=-11.0), MemoryConfig(alpha_bias=3.0, eta_bias=-5.0, theta_scale=100.0),
    )  # fmt: skip
    assert for_model(ModelConfig(memory=one)) == for_model(ModelConfig(memory=other))
    usual, climbing, long_keys = (
        for_model(config).memory.step_scale(32)
        for config in (ModelConfig(), ModelConfig(memory=MemoryConfig(ascent=True)), ModelConfig(qk_l2_norm=False))
    )
    assert (climbing, long_keys) == pytest.approx((usual / 10, usual / 32))


def test_a_transformer_has_no_operator_to_check():
    assert checks_of(ModelConfig(variant="transformer")) == ["model", "streaming", "causality"]
    assert checks_of(ModelConfig(variant="mac")) == ["operator", "model", "streaming", "causality"]
