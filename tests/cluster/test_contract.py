"""What holds wherever the workers of a sweep run: each engine passes the same tests."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from workbench import ENDLESS, Workbench, begun, until, workers

from titans_lab.store.folder import Attempt, RunFolder

EIGHT = "seeds=8"
NUMBERS = "select run_id, seed, state, loss, train_loss, steps, attempt from runs order by run_id"


ENGINES = ["local", pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(params=ENGINES)
def on(request: pytest.FixtureRequest) -> list[str]:
    """The options of a sweep that say where its workers run."""
    if request.param == "local":
        return []
    request.getfixturevalue(request.param)
    return ["--on", request.param, "--set", "workers=2"]


def test_eight_runs_have_the_ids_and_numbers_of_a_local_sweep(bench: Workbench, on: list[str], tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = Workbench.at(tmp_path / "other")
    other.sweep(EIGHT).run(lambda _: None)
    done = bench.call("sweep", EIGHT, *on)
    assert done.returncode == 0, done.stderr
    assert "8 runs: 8 done" in done.stderr
    assert bench.ask(NUMBERS) == other.ask(NUMBERS)


def test_each_run_is_recorded_once_although_its_coordinator_is_killed(bench: Workbench, on: list[str]):
    command = bench.command("sweep", EIGHT, *on)
    for _ in range(2):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as coordinator:
            assert coordinator.stderr is not None
            until(lambda: coordinator.stderr.readline().startswith(("started", "running", "done")), "a run")
            coordinator.kill()
    done = bench.call("sweep", EIGHT, *on)
    assert done.returncode == 0, done.stderr
    folders = bench.folders(EIGHT)
    assert [folder.state() for folder in folders] == ["done"] * 8
    ends = [_ends(folder) for folder in folders]
    assert all(end.count("done") == 1 and set(end) <= {"done", "cancelled", None} for end in ends), ends


def test_a_run_whose_process_is_killed_is_told_and_tried_again_by_the_same_command(bench: Workbench, on: list[str]):
    long = ("train.tokens=30000", "log.every=1")
    with subprocess.Popen(bench.command("sweep", *long, *on), stderr=subprocess.PIPE, text=True) as coordinator:
        [folder] = bench.folders(*long)
        until(lambda: begun(folder), "the first line of metrics")
        [process] = workers(bench.root)
        os.kill(process, signal.SIGKILL)
        said = coordinator.communicate()[1]
    assert coordinator.returncode == 3, said
    assert (folder.state(), "SIGKILL" in said) == ("failed", True), said
    done = bench.call("sweep", *long, *on)
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in bench.ask("select state from runs")] == ["done"]


def test_cancel_ends_the_run_and_the_workers(bench: Workbench, on: list[str]):
    with subprocess.Popen(
        bench.command("sweep", ENDLESS, "log.every=1", *on), stderr=subprocess.PIPE, text=True
    ) as coordinator:
        [folder] = bench.folders(ENDLESS, "log.every=1")
        until(lambda: begun(folder), "the first line of metrics")
        assert bench.call("cancel").returncode == 0
        said = coordinator.communicate()[1]
    assert coordinator.returncode == 3, said
    assert folder.state() == "cancelled"
    until(lambda: not workers(bench.root), "the end of the workers")


def _ends(folder: RunFolder) -> list[str | None]:
    """Return the state that each attempt at a run ended in, or None where its worker died before it could say."""
    statuses = [Attempt(path).status() for path in folder.attempts()]
    return [status and status.state for status in statuses]
