from __future__ import annotations

from pathlib import Path

import pytest
from workbench import Workbench

from titans.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.plan import plan
from titans_lab.store.recorder import Recorder
from titans_lab.study import derived


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def test_a_row_has_the_runs_cost(bench: Workbench):
    runs = bench.runs("grid.model.memory.depth=[1, 3]", "seeds=2", "train.tokens=319")
    rows = plan(runs, bench.store)
    assert [(row.run_id, row.label) for row in rows] == [(run.run_id, run.label) for run in runs]
    for row, run in zip(rows, runs, strict=True):
        model, train = run.config.model, run.config.train
        assert row.tokens == derived.tokens(run.config) == 256  # whole steps of 64
        assert row.parameters == parameters(model)
        assert row.flops == derived.flops(run.config) == 256 * train_flops_per_token(model, train.length, train.batch)
        assert row.state_bytes == state_bytes(model, train.length)
    assert rows[0].parameters < rows[2].parameters


def test_a_row_has_the_runs_state(bench: Workbench):
    runs = bench.runs("seeds=4")
    folders = [bench.store.run(run.run_id) for run in runs]
    for folder in folders[1:]:
        folder.create({})
        attempt = folder.new_attempt()
    running = folders[2].latest()
    assert running
    Recorder(attempt, {}).commit("diverged", {})
    with running.claim.kept():
        assert [row.state for row in plan(runs, bench.store)] == ["pending", "lost", "running", "diverged"]


def test_planning_writes_nothing(bench: Workbench):
    plan(bench.runs("seeds=3"), bench.store)
    assert not bench.store.root.exists()
