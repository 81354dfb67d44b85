from __future__ import annotations

import dataclasses
import sys
import warnings
from typing import Any

import pytest
import torch

from titans.compiler import c_compiler
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel, use_kernel
from titans.ops.arguments import warn_unsupported
from titans_lab.run import derived
from titans_lab.run.config import RunConfig, SpeedConfig, TrainConfig

LONG = RunConfig(model=ModelConfig(variant="lmm"), train=TrainConfig(tokens=100_000_000))


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal"])
def test_a_memory_on_a_cpu_has_the_cpu_kernel(variant: Any):
    config = dataclasses.replace(LONG, model=ModelConfig(variant=variant))
    assert derived.kernel(config, "cpu") == "cpu"
    assert derived.kernel(config, "cuda") == "auto"


#: Forms of the memory, of which the fused kernels compute the first three alone.
FORMS: dict[str, dict[str, Any]] = {
    "depth 1": {"depth": 1},
    "no momentum": {"momentum": False},
    "gates by channel of what is off": {"forgetting": False, "gate_channels": "alpha"},
    "gates by channel": {"gate_channels": "alpha"},
    "read late": {"read": "chunk"},
    "a gain": {"gain": "fast"},
    "one layer": {"written": "last"},
    "the linear recurrence": {"depth": 1, "chunk_size": 1, "residual": False},
}


@pytest.mark.skipif(c_compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("variant", ["lmm", "ttt_mlp", "ttt_linear", "mac"])
@pytest.mark.parametrize("form", FORMS)
def test_a_run_is_recorded_with_the_kernel_that_its_memory_ran_on(variant: Any, form: str):
    """The operator warns of each call that it does not run on the kernel asked for."""
    model = ModelConfig(variant=variant, dim=8, n_heads=2, n_layers=1, memory=MemoryConfig(**FORMS[form]))
    config = dataclasses.replace(LONG, model=model)
    built = LanguageModel(model)
    use_kernel(built, "cpu")
    warn_unsupported.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built(torch.zeros(1, 20, dtype=torch.long))
    fell_back = any("kernel='cpu' does not support" in str(each.message) for each in caught)
    assert derived.kernel(config, "cpu") == ("torch" if fell_back else "cpu")


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
