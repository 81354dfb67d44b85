from __future__ import annotations

import pytest

from titans_lab.report.across_tasks import section
from titans_lab.stats.bootstrap import stratified_iqm

TASKS = ["in_context_recall", "selective_copying", "memorization", "compression"]


@pytest.fixture
def several(lab):
    """Two models on four tasks, three seeds each."""
    base = {"model": {"vocab_size": 1024, "dim": 32}}
    return lab(base=base, grid={"model.variant": ["lmm", "transformer"], "task.name": TASKS})


def scores(run) -> float:
    return 0.2 * TASKS.index(run.config.task.name) + 0.01 * run.seed + 0.1 * (run.config.model.variant == "lmm")


def test_a_model_is_the_interquartile_mean_of_its_scores_on_all_tasks(several):
    for run in several.runs:
        several.end(run, "done", 1.0, score=scores(run))
    found = section(*several.built)
    wanted = stratified_iqm([[0.2 * task + 0.01 * seed + 0.1 for seed in range(3)] for task in range(4)])
    (first, _) = found.table.rows
    assert first.heads == ("variant lmm",)
    interval = f"{wanted.low:.3f} to {wanted.high:.3f}"
    assert first.cells == (f"{wanted.value:.3f}", interval, "0.410", "3")
    assert found.figure.traces[0]["x"] == [pytest.approx(wanted.value)]
    assert found.title == "Over 4 tasks"


def test_a_task_that_a_model_has_not_done_is_left_out_for_all(several):
    for run in several.runs:
        missing = run.config.model.variant == "lmm" and run.config.task.name == "compression"
        several.end(run, "failed" if missing else "done", None if missing else 1.0, score=scores(run))
    assert section(*several.built).title == "Over 3 tasks"


def test_scores_that_are_no_shares_are_ratios_to_the_first_model(lab, tmp_path):
    base = {"task": {"name": "series"}, "data": {"path": str(tmp_path / "x.csv")}, "train": {"seq_len": 12}}
    grid = {"model.variant": ["lmm", "transformer"], "task.series.horizon": [96, 192, 336]}
    lab = lab(base=base, grid=grid, seeds=[0, 1])
    for run in lab.runs:
        lab.end(run, "done", 1.0, score=run.config.task.settings.horizon * (1 + (run.config.model.variant != "lmm")))
    found = section(*lab.built)
    assert [row.cells[0] for row in found.table.rows] == ["1.000", "2.000"]
    assert "over that of variant lmm, a ratio" in found.figure.layout["xaxis"]["title"]["text"]


def test_one_task_needs_no_summary(lab):
    lab = lab(grid={"model.variant": ["lmm", "transformer"]})
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    assert section(*lab.built) is None
