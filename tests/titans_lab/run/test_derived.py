from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest

from titans.compiler import c_compiler
from titans.models.config import ModelConfig
from titans_lab.run import derived
from titans_lab.run.config import RunConfig, SpeedConfig, TrainConfig

LONG = RunConfig(model=ModelConfig(variant="lmm"), train=TrainConfig(tokens=100_000_000))


@pytest.mark.parametrize("variant", ["lmm", "ttt_mlp"])
def test_a_memory_on_a_cpu_has_the_cpu_kernel(variant: Any):
    config = dataclasses.replace(LONG, model=ModelConfig(variant=variant))
    assert derived.kernel(config, "cpu") == "cpu"
    assert derived.kernel(config, "cuda") == "auto"


def test_what_has_no_memory_and_what_the_user_chose_stay():
    plain = dataclasses.replace(LONG, model=ModelConfig(variant="transformer"))
    assert derived.kernel(plain, "cpu") == "auto"
    assert derived.kernel(dataclasses.replace(LONG, speed=SpeedConfig(kernel="torch")), "cpu") == "torch"


def test_without_a_compiler_there_is_no_cpu_kernel(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr(sys, "path", [])  # nor the package ziglang
    c_compiler.cache_clear()
    assert derived.kernel(LONG, "cpu") == "auto"
    c_compiler.cache_clear()
