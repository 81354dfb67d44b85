"""Presets in a study: under the base, on their own or as a factor."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.run.config import RunConfig, build, leaves
from titans_lab.run.run import Run
from titans_lab.run.values import typed
from titans_lab.study.presets import PRESETS
from titans_lab.study.study import load_study


def runs(folder: Path, text: str, *overrides: str) -> list[Run]:
    path = folder / "study.yaml"
    path.write_text(text)
    return load_study(path, overrides).runs(lambda data: "a" * 64)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_configuration_and_says_something(name: str) -> None:
    values = PRESETS[name]
    assert build(RunConfig, values) != RunConfig()
    assert values == {key: typed(leaves()[key].hint, value) for key, value in values.items()}


def test_a_size_is_trained_as_in_its_paper() -> None:
    train = build(RunConfig, PRESETS["760M"]).train
    assert (train.lr, train.tokens, train.seq_len) == (1.25e-3, 30_000_000_000, 4096)
    assert train.batch_size * train.seq_len == 524_288


def test_later_presets_come_on_top_and_the_base_on_top_of_all(tmp_path: Path) -> None:
    text = "preset: [ttt-linear, 170M]\nbase:\n  model: {n_heads: 4}\n"
    [run] = runs(tmp_path, text)
    assert (run.config.model.variant, run.config.model.memory.momentum) == ("lmm", False)
    assert (run.config.model.n_layers, run.config.model.n_heads) == (12, 4)
    assert run.label == "seed=0"


def test_presets_are_compared_as_a_factor_under_the_base(tmp_path: Path) -> None:
    text = "preset: 340M\nbase:\n  model: {window: 64}\ngrid:\n  preset: [paper-v1, paper-neurips]\n"
    first, second = runs(tmp_path, text)
    assert [run.label for run in (first, second)] == ["preset=paper-v1 seed=0", "preset=paper-neurips seed=0"]
    assert [run.config.model.memory.residual for run in (first, second)] == [False, True]
    assert {run.config.model.dim for run in (first, second)} == {1024}
    assert {run.config.model.window for run in (first, second)} == {64}
    assert second.config.model.segment_len == 512


def test_another_preset_on_the_command_line(tmp_path: Path) -> None:
    [run] = runs(tmp_path, "preset: 340M\n", "preset=170M")
    assert run.config.model.dim == 768
    assert len(runs(tmp_path, "question: q\n", "grid.preset=[170M, 340M, 760M]")) == 3


def test_a_preset_is_the_same_run_as_its_values(tmp_path: Path) -> None:
    [named] = runs(tmp_path, "preset: [ttt-linear]\n")
    memory = "depth: 1, momentum: false, forgetting: false, loss: half, gain: learned, gates_per_layer: false"
    memory += ", theta_scale: 0.5, output_gate: none, initial_std: 0.02"
    model = f"variant: lmm, persistent_tokens: 0, conv_size: 1, qkv_activation: none, memory: {{{memory}}}"
    [spelt] = runs(tmp_path, f"base:\n  model: {{{model}}}\n")
    assert spelt.run_id == named.run_id
