"""What holds wherever the workers of a sweep run: each engine passes the same tests."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from workbench import ENDLESS, Workbench, begun, until, workers

from titans_lab.search.trial import Trial
from titans_lab.store.folder import Attempt, RunFolder

EIGHT = "seeds=8"
GRID = """
search:
  space: {train.lr: {choice: [0.01, 0.001]}, train.seq_len: {choice: [16, 32]}}
  sampler: grid
"""
UNPROMISING = """
search:
  space: {train.lr: {choice: [0.01, 1e-9]}, train.tokens: {choice: [2560, 10000000]}}
  enqueue: [{train.lr: 0.01, train.tokens: 2560}, {train.lr: 1e-9, train.tokens: 10000000}]
  trials: 2
  pruner: {name: median, n_startup_trials: 1}
"""
NUMBERS = "select run_id, seed, state, loss, train_loss, steps, attempt from runs order by run_id"


ENGINES = ["local", pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(params=ENGINES)
def on(request: pytest.FixtureRequest) -> list[str]:
    """The options of a sweep that say where its workers run."""
    if request.param == "local":
        return []
    request.getfixturevalue(request.param)
    return ["--on", request.param, "--set", "workers=2"]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The eight runs, swept in this process."""
    bench = Workbench.at(tmp_path_factory.mktemp("swept"))
    bench.sweep(EIGHT).run(lambda _: None)
    return bench


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The four trials, searched on this machine."""
    bench = Workbench.at(tmp_path_factory.mktemp("searched"))
    bench.study.write_text(bench.study.read_text() + GRID)
    assert bench.call("tune", "--no-verify").returncode == 0
    return bench


def test_eight_runs_have_the_ids_and_numbers_of_a_local_sweep(bench: Workbench, on: list[str], swept: Workbench):
    done = bench.call("sweep", EIGHT, *on)
    assert done.returncode == 0, done.stderr
    assert "8 runs: 8 done" in done.stderr
    assert bench.ask(NUMBERS) == swept.ask(NUMBERS)


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


def test_a_search_goes_on_after_its_coordinator_is_killed_with_the_numbers_of_a_local_one(
    bench: Workbench, on: list[str], searched: Workbench
):
    bench.study.write_text(bench.study.read_text() + GRID)
    with subprocess.Popen(bench.command("tune", "--no-verify", *on), stderr=subprocess.PIPE, text=True) as coordinator:
        assert coordinator.stderr is not None
        until(lambda: coordinator.stderr.readline().startswith("done"), "a trial")
        coordinator.kill()
    done = bench.call("tune", "--no-verify", *on)
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in trials(bench)] == ["done"] * 4
    assert results(bench) == results(searched)
    ends = [_ends(bench.store.run(run_id)) for trial in trials(bench) for run_id in trial.runs]
    assert all(end.count("done") == 1 for end in ends), ends
    until(lambda: not workers(bench.root), "the end of the workers")


def test_a_search_ends_an_unpromising_run_by_a_request_in_the_store(bench: Workbench, on: list[str]):
    bench.study.write_text(bench.study.read_text() + UNPROMISING)
    done = bench.call("tune", "--no-verify", "--max-parallel", "1", "log.valid_every=1", *on)
    assert done.returncode == 0, done.stderr
    good, poor = trials(bench)
    assert (good.state, poor.state) == ("done", "pruned"), done.stderr
    assert bench.store.run(poor.runs[0]).state() == "pruned"
    until(lambda: not workers(bench.root), "the end of the workers")


def trials(bench: Workbench) -> list[Trial]:
    """The trials of the only search of a store."""
    [search] = bench.store.searches()
    return [Trial.of(record) for record in search.trials()]


def results(bench: Workbench) -> dict[tuple[object, ...], tuple[float, ...] | None]:
    """The values of each point that was tried."""
    return {tuple(trial.params.values()): trial.values for trial in trials(bench)}


def _ends(folder: RunFolder) -> list[str | None]:
    """Return the state that each attempt at a run ended in, or None where its worker died before it could say."""
    statuses = [Attempt(path).status() for path in folder.attempts()]
    return [status and status.state for status in statuses]
