"""What is verified once, how it is called, and what makes another verification of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from variants import VARIANTS

import titans
import titans_lab.verify.subjects
from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.executors.devices import Device
from titans_lab.verify.subjects import code_digest, defaults, facts, key, subjects

GPU = Device("cuda", "GPU-1", "GPU 0 NVIDIA H200", "NVIDIA H200")


def labels(*configs: ModelConfig) -> list[str]:
    return [subject.label for subject in subjects(configs)]


def test_each_variant_has_a_default_and_its_name():
    assert [subject.label for subject in subjects(defaults())] == [f"variant={name}" for name in VARIANTS]


def test_configurations_that_reduce_to_one_are_one_under_the_name_of_the_first():
    of_size = [ModelConfig(n_layers=blocks, memory=MemoryConfig(depth=d)) for d in (1, 2) for blocks in (1, 12)]
    found = subjects(of_size)
    assert [(subject.label, subject.config) for subject in found] == [
        ("memory.depth=1", of_size[0]), ("memory.depth=2", of_size[2]),
    ]  # fmt: skip
    assert labels(*of_size[:2]) == ["mac"]
    assert len(subjects(ModelConfig(memory=MemoryConfig(alpha_bias=bias)) for bias in (-11.0, -1.0))) == 1


def test_a_name_says_what_differs_between_those_that_have_it():
    lone = ModelConfig(variant="transformer")
    assert labels(lone, ModelConfig(variant="lmm", memory=MemoryConfig(chunk_size=4)), ModelConfig(variant="lmm")) == [
        "variant=transformer", "variant=lmm memory.chunk_size=4", "variant=lmm memory.chunk_size=16",
    ]  # fmt: skip


def test_a_verification_is_of_a_model_a_precision_a_device_and_a_state_of_the_code(monkeypatch: pytest.MonkeyPatch):
    def keys() -> list[str]:
        other = dataclasses.replace(GPU, hardware="NVIDIA H100")
        deep = ModelConfig(memory=MemoryConfig(depth=3))
        asked = [(ModelConfig(), "float64", GPU), (deep, "float64", GPU), (ModelConfig(), "float32", GPU)]
        asked.append((ModelConfig(), "float64", GPU, "compiled"))
        return [key(facts(*each)) for each in (*asked, (ModelConfig(), "float64", other))]

    seen = keys()
    assert keys() == seen
    module = titans_lab.verify.subjects
    for place, name, value in (
        (module, "library_version", lambda _: "9.9"),
        (titans, "VERSIONS", {"model": 99, "operator": 1}),
        (module, "code_digest", lambda: "another"),
    ):
        monkeypatch.setattr(place, name, value)
        seen += keys()
    assert len(set(seen)) == len(seen) == 20
    same = dataclasses.replace(GPU, index="GPU-2", name="GPU 1 NVIDIA H200")
    assert key(facts(ModelConfig(), "float64", same)) == keys()[0]


def test_an_edit_of_a_model_or_of_a_check_is_another_state_of_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    names = "titans/__init__.py", "titans/ops/deep.py", "lab/verify/a.py", "lab/training/precision.py"
    sources = [tmp_path / name for name in names]
    for path in sources:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    monkeypatch.setattr(titans_lab.verify.subjects, "titans", SimpleNamespace(__file__=str(sources[0])))
    monkeypatch.setattr(titans_lab.verify.subjects, "__file__", str(sources[2]))
    seen = {code_digest.__wrapped__()}
    for path in sources:
        path.write_text("2")
        seen.add(code_digest.__wrapped__())
    assert len(seen) == 5
    (tmp_path / "lab" / "sweep.py").write_text("3")
    assert code_digest.__wrapped__() in seen
