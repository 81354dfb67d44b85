from __future__ import annotations

import math
from pathlib import Path

import pytest
from workbench import Workbench

from titans_lab.errors import UserError
from titans_lab.status import damage_of, seconds_left, store_status, study_status, totals
from titans_lab.store.folder import Attempt
from titans_lab.store.recorder import Recorder

SUMMARY = {"loss": 2.0, "train_loss": 1.5, "tokens": 256, "tokens_per_second": 640.0}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """Of six runs one is not begun, one runs, one is lost, and the others are committed."""
    bench = Workbench.at(tmp_path)
    folders = bench.folders("seeds=6")
    bench.sweep("seeds=6")
    recorders = [Recorder(folder.new_attempt(), {}) for folder in folders[1:]]
    recorders[0].log(step=2, tokens=128, loss=3.5, tokens_per_second=600.0)
    recorders[2].commit("done", SUMMARY)
    recorders[3].commit(
        "diverged", SUMMARY | {"loss": None, "train_loss": math.inf}, "the loss of step 2 is not finite"
    )
    recorders[4].commit("failed", {}, "Traceback\n  in line 3\nValueError: no such text\n")
    runs = [{"run_id": folder.run_id, "factors": {}} for folder in folders]
    for name, some in (("all", runs), ("more", [*runs[3:], {"run_id": "unknown", "factors": {}}])):
        bench.store.save_study({"name": name, "question": "q", "expect": "", "runs": some})
    return bench


def test_each_run_has_its_state_and_figures(bench: Workbench):
    with Attempt(bench.folders("seeds=6")[1].attempts()[0]).claim.kept():
        rows = study_status(bench.runs("seeds=6"), bench.store)
    found = [
        tuple(row[key] for key in ("state", "tokens", "planned_tokens", "loss", "train_loss", "error")) for row in rows
    ]
    assert found == [
        ("pending", 0, 256, None, None, None),
        ("running", 128, 256, None, 3.5, None),
        ("lost", 0, 256, None, None, None),
        ("done", 256, 256, 2.0, 1.5, None),
        ("diverged", 256, 256, None, math.inf, "the loss of step 2 is not finite"),
        ("failed", 0, 256, None, None, "ValueError: no such text"),
    ]
    assert [row["run"] for row in rows] == [f"seed={seed}" for seed in range(6)]


def test_the_time_left_is_the_work_left_at_the_speed_of_what_runs(bench: Workbench):
    runs = bench.runs("seeds=6")
    with Attempt(bench.folders("seeds=6")[1].attempts()[0]).claim.kept():
        rows = study_status(runs, bench.store)
    speed = rows[1]["tokens_per_second"]
    assert seconds_left(runs, rows) == pytest.approx((128 + 256) / speed)  # half a run, and a whole one
    rows[1]["tokens_per_second"] = None
    assert seconds_left(runs, rows) is None
    assert totals({"failed": 1, "done": 2, "lost": 0, "running": 1}) == "4 runs: 2 done, 1 running, 1 failed"
    assert (totals({"done": 1}), totals({})) == ("1 run: 1 done", "no runs")


def test_each_study_of_a_store_has_its_counts(bench: Workbench):
    with Attempt(bench.folders("seeds=6")[1].attempts()[0]).claim.kept():
        rows = {row.pop("study"): row for row in store_status(bench.store)[0]}
    last = rows["all"].pop("last_finished")
    assert last is not None
    assert last == rows["more"].pop("last_finished")
    assert rows["all"] == {"runs": 6, "done": 1, "diverged": 1, "running": 1, "failed": 1, "cancelled": 0, "missing": 2}
    assert rows["more"] == {
        "runs": 4,
        "done": 1,
        "diverged": 1,
        "running": 0,
        "failed": 1,
        "cancelled": 0,
        "missing": 1,
    }


def test_a_last_line_that_cannot_be_read_is_named(bench: Workbench):
    path = Attempt(bench.folders("seeds=6")[1].attempts()[0]).metrics_path
    whole = path.read_bytes()
    for damaged in (whole.replace(b"3.5", b"2.5"), whole[:-1] + b"\x0b"):
        path.write_bytes(damaged)
        assert [damage.path for damage in damage_of(bench.runs("seeds=6"), bench.store)] == [path]
        assert study_status(bench.runs("seeds=6"), bench.store)[1]["train_loss"] is None
    path.unlink()
    path.mkdir()
    assert [damage.path for damage in damage_of(bench.runs("seeds=6"), bench.store)] == [path]


@pytest.mark.parametrize("name", ["run.json", "status.json"])
def test_an_unreadable_record_of_a_run_is_named(bench: Workbench, name: str):
    path = bench.folders("seeds=6")[3].path / name
    assert damage_of(bench.runs("seeds=6"), bench.store) == []
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    assert [damage.path for damage in damage_of(bench.runs("seeds=6"), bench.store)] == [path]


def test_a_store_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        store_status(Workbench.at(tmp_path).store)
