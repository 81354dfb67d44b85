"""MAD's levels, and the score that is computed from their runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from titans_lab.run.config import RunConfig, build
from titans_lab.run.run import Run, record_of
from titans_lab.store.query import query
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.presets import mad_presets
from titans_lab.study.study import load_study

STUDIES = Path(__file__).parents[3] / "studies"
ONE = {"mad-compression": 0.5, "mad-compression-length-64": 0.25, "mad-memorization": 1.0}


def test_each_task_has_its_published_levels() -> None:
    levels = Counter(values["task.name"] for values in mad_presets().values())
    assert levels == {
        "in_context_recall": 11, "noisy_in_context_recall": 14, "fuzzy_in_context_recall": 11,
        "selective_copying": 13, "memorization": 6, "compression": 11,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "length", "examples", "vocabulary"),
    [
        ("mad-in-context-recall-length-1024", 1024, 12_800, 16),
        ("mad-noisy-in-context-recall-vocabulary-144", 128, 12_800, 144),
        ("mad-fuzzy-in-context-recall-examples-800", 128, 800, 16),
        ("mad-memorization-vocabulary-8192", 32, 256, 8192),
    ],
)
def test_a_level_changes_one_thing_and_is_trained_for_200_epochs(name, length, examples, vocabulary) -> None:
    config = build(RunConfig, mad_presets()[name])
    assert (config.train.seq_len, config.task.settings.examples) == (length, examples)
    assert config.task.settings.vocabulary == config.model.vocab_size == vocabulary
    assert config.train.tokens == 200 * examples * length
    assert config.train.steps == 200 * examples // 128


def test_the_study_tries_all_levels_with_the_published_settings() -> None:
    study = load_study(STUDIES / "mad.yaml")
    assert study.grid["preset"] == tuple(mad_presets())
    assert (study.grid["train.lr"], study.grid["train.weight_decay"]) == ((1e-4, 5e-4, 1e-3), (0.0, 0.1))


def finish(root: Path, values: dict[str, object], seed: int, accuracy: float | None) -> None:
    config = build(RunConfig, {"model.variant": "lmm", **values})
    run = Run(f"run{hash((config, seed)) & 0xFFFFFFFF:x}", config, seed, "0" * 64, {})
    folder = Store(root).run(run.run_id)
    folder.create(record_of(run, "generated"))
    recorder = Recorder(folder.new_attempt(), {})
    recorder.commit("done" if accuracy is not None else "failed", {"loss": 1.0, "score": accuracy})


def test_the_score_is_the_mean_over_levels_of_the_best_setting_over_seeds(tmp_path: Path) -> None:
    for name, best in ONE.items():
        level = mad_presets()[name]
        finish(tmp_path, level | {"train.lr": 1e-3}, 0, best - 0.25)
        finish(tmp_path, level | {"train.lr": 1e-3}, 1, best + 0.25)  # their mean is the best
        finish(tmp_path, level | {"train.lr": 1e-4}, 0, best - 0.125)
        finish(tmp_path, level | {"train.lr": 5e-4}, 0, None)
    finish(tmp_path, {}, 0, 9.0)  # of the task text
    rows = query(tmp_path, (STUDIES / "mad.sql").read_text()).to_pylist()
    common = {"variant": "lmm", "fewest_settings": 2}
    assert rows == [
        common | {"skill": "compression", "score": 0.375, "levels": 2},
        common | {"skill": "memorization", "score": 1.0, "levels": 1},
    ]
