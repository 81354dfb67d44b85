from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from titans.models.config import ModelConfig
from titans_lab.study import derived
from titans_lab.study.config import RunConfig, SpeedConfig, TrainConfig

LONG = RunConfig(model=ModelConfig(variant="lmm"), train=TrainConfig(tokens=100_000_000))


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "python3")


@pytest.mark.parametrize("variant", ["lmm", "ttt_mlp"])
def test_a_long_training_on_a_cpu_is_compiled(variant: Any):
    long = dataclasses.replace(LONG, model=ModelConfig(variant=variant))
    assert derived.flops(long) > derived.COMPILED_FROM > derived.flops(RunConfig())
    assert derived.kernel(long, "cpu") == "compiled"
    assert derived.kernel(RunConfig(), "cpu") == derived.kernel(LONG, "cuda") == "auto"


def test_what_has_no_memory_and_what_the_user_chose_stay(monkeypatch: pytest.MonkeyPatch):
    plain = dataclasses.replace(LONG, model=ModelConfig(variant="transformer"), train=TrainConfig(tokens=10**9))
    assert derived.flops(plain) > derived.COMPILED_FROM
    assert derived.kernel(plain, "cpu") == "auto"
    assert derived.kernel(dataclasses.replace(LONG, speed=SpeedConfig(kernel="torch")), "cpu") == "torch"


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert derived.kernel(LONG, "cpu") == "auto"
