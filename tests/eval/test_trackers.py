"""Trackers, each for real and offline: a sweep is mirrored, and one that cannot write ends no run."""

from __future__ import annotations

from pathlib import Path

import pytest
from extras import extra
from workbench import Workbench

tensorboard, wandb = extra("tensorboard"), extra("wandb")
OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A study of two runs, one of which diverges, that was swept with two trackers."""
    bench = Workbench.at(tmp_path_factory.mktemp("bench"))
    ended = bench.call("sweep", "grid.train.lr=[1e30, 1e-2]", "--track", "tensorboard", "--track", "wandb", **OFFLINE)
    assert ended.returncode == 0, ended.stderr
    assert "--track" not in ended.stderr
    return bench


def test_tensorboard_has_every_curve_the_configuration_and_the_results(bench: Workbench):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = sorted((bench.store.root / "tracking" / "tensorboard").glob("*/*"))
    assert len(folders) == 2
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        [row] = bench.ask(f"select run_id, state, loss from runs where run_id like '{folder.name.rpartition('-')[2]}%'")
        wanted = bench.ask(f"select step, loss from metrics where run_id = '{row['run_id']}' order by step")
        found = [(event.step, event.value) for event in events.Scalars("loss")]
        assert found == [(each["step"], pytest.approx(each["loss"], rel=1e-6, nan_ok=True)) for each in wanted]
        if row["state"] == "done":
            [final] = events.Scalars("final/loss")
            assert final.value == pytest.approx(row["loss"], rel=1e-6)
        assert "config/text_summary" in events.Tags()["tensors"]
        assert "_hparams_/session_start_info" in events.summary_metadata


def test_wandb_keeps_runs_offline(bench: Workbench):
    folders = list((bench.store.root / "tracking" / "wandb" / "wandb").glob("offline-run-*"))
    ids = {row["run_id"] for row in bench.ask("select run_id from runs")}
    assert {folder.name.rpartition("-")[2] for folder in folders} == ids
    assert all(any(folder.glob("*.wandb")) for folder in folders)


def test_a_tracker_that_cannot_write_is_one_warning_and_ends_no_run(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    place = bench.store.root / "tracking" / "tensorboard"
    place.mkdir(parents=True)
    (place / "tiny").write_text("a file is in the place of the folder")
    ended = bench.call("sweep", "--track", "tensorboard")
    assert ended.returncode == 0
    assert ended.stderr.count("--track tensorboard: ") == 1
    assert bench.ask("select state from runs") == [{"state": "done"}]
