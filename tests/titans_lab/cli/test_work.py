"""`titans-lab work`: workers that share a store, each with a part of the runs."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from workbench import ENDLESS, MINUTES, Workbench, begun, until

from titans_lab.executors.devices import cores
from titans_lab.store.folder import RunFolder
from titans_lab.store.recorder import commit

FIVE = "seeds=5"
CHECKPOINTS = ("log.every=1", "log.checkpoint_seconds=0")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def work(bench: Workbench, *arguments: str) -> subprocess.CompletedProcess[str]:
    return bench.call("work", "--no-verify", *arguments)


def ended(worker: subprocess.Popen[str]) -> int:
    """The exit code of a worker, at its end."""
    worker.communicate(timeout=MINUTES)
    return worker.returncode


def numbers(folder: RunFolder) -> list[str]:
    """The attempts at a run."""
    return [path.name for path in folder.attempts()]


def test_workers_that_start_together_execute_each_run_once(bench: Workbench):
    workers = [bench.start("work", "--no-verify", FIVE) for _ in range(3)]
    for worker in workers:
        said = worker.communicate(timeout=MINUTES)[1]
        assert worker.returncode == 0, said
    assert [(folder.state(), numbers(folder)) for folder in bench.folders(FIVE)] == [("done", ["1"])] * 5


def test_it_ends_after_so_many_runs(bench: Workbench):
    done = work(bench, FIVE, "--runs", "2")
    assert done.returncode == 0, done.stderr
    assert [folder.state() for folder in bench.folders(FIVE)].count("done") == 2
    assert "here: 2 done; left to others: 3 of 5 runs" in done.stderr


def test_a_signal_before_the_time_limit_leaves_a_run_that_another_worker_resumes(bench: Workbench):
    resumed_after_a_signal(bench, ENDLESS, *CHECKPOINTS)


@pytest.mark.skipif(len(cores()) < 2, reason="a worker has a device slot for each core")
def test_a_signal_leaves_a_run_on_two_devices_with_a_checkpoint_that_another_worker_resumes(bench: Workbench):
    resumed_after_a_signal(bench, ENDLESS, *CHECKPOINTS, "speed.devices=2")


def resumed_after_a_signal(bench: Workbench, *arguments: str) -> None:
    """Let a worker train a run, send it SIGUSR1, and let another worker resume the run."""
    first = bench.start("work", "--no-verify", *arguments)
    [folder] = bench.folders(*arguments)
    until(lambda: begun(folder), "the first line of metrics")
    first.send_signal(signal.SIGUSR1)
    assert ended(first) == 4
    assert (folder.state(), folder.given_up()) == ("cancelled", False)
    second = bench.start("work", "--no-verify", *arguments)
    until(lambda: numbers(folder) == ["1", "2"] and begun(folder), "a line of metrics of the second attempt")
    second.send_signal(signal.SIGTERM)
    assert ended(second) == 130
    latest = folder.latest()
    assert latest is not None
    assert latest.env()["resumed_from"]


def test_a_signal_before_the_study_is_read_leaves_its_runs_to_others(bench: Workbench, cli, monkeypatch):  # type: ignore[no-untyped-def]
    from titans_lab.cli.arguments import load

    def signalled(*given):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGUSR1)
        return load(*given)

    monkeypatch.setattr("titans_lab.cli.studies.load", signalled)
    assert cli("work", bench.study, "--no-verify", "--store", bench.store.root).code == 4
    assert [folder.state() for folder in bench.folders()] == ["pending"]


def test_a_worker_of_a_search_without_a_coordinator_trains_nothing_and_says_why(bench: Workbench, cli):  # type: ignore[no-untyped-def]
    space = "search={space: {train.lr: {float: [1e-3, 1e-1]}}}"
    done = cli("work", bench.study, space, "--trials", "--no-verify", "--store", bench.store.root)
    assert done.code == 0
    assert "no `titans-lab tune` of this search is running" in done.err
    assert not bench.store.root.exists()


def test_a_run_that_would_not_reach_its_first_checkpoint_is_not_started(bench: Workbench):
    done = work(bench, FIVE, "--until", "20s")
    assert done.returncode == 0, done.stderr
    assert {folder.state() for folder in bench.folders(FIVE)} == {"pending"}
    assert "here: no run; left to others: 5 of 5 runs" in done.stderr


def test_a_run_that_failed_is_left_alone_until_somebody_asks_for_it(bench: Workbench):
    folder = bench.recorded()
    commit(folder.new_attempt(), "failed", {}, "as the test says")
    assert work(bench).returncode == 0
    assert (folder.state(), numbers(folder)) == ("failed", ["1"])
    assert work(bench, "--again").returncode == 0
    assert (folder.state(), numbers(folder)) == ("done", ["1", "2"])


def test_a_cancelled_run_is_not_taken_up_by_another_worker(bench: Workbench):
    worker = bench.start("work", "--no-verify", ENDLESS, "log.every=1")
    [folder] = bench.folders(ENDLESS)
    until(lambda: begun(folder), "the first line of metrics")
    latest = folder.latest()
    assert latest is not None
    latest.ask_to_stop("cancelled", "by hand")
    assert ended(worker) == 0
    assert folder.state() == "cancelled"
    assert work(bench, ENDLESS, "log.every=1").returncode == 0
    assert numbers(folder) == ["1"]


def test_it_ends_when_all_that_is_left_is_in_living_hands(bench: Workbench):
    holder = bench.start("work", "--no-verify", ENDLESS)
    [folder] = bench.folders(ENDLESS)
    until(lambda: folder.state() == "running", "the run")
    done = work(bench, ENDLESS)
    assert done.returncode == 0, done.stderr
    assert holder.poll() is None
    assert numbers(folder) == ["1"]
    holder.send_signal(signal.SIGTERM)
    assert ended(holder) == 130


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--device", "cpu:99", "cpu:99 is not here; there are cpu, cpu:0"),
        ("--device", "tpu", "tpu is not here"),
        ("--until", "2001-01-01T00:00", "is past"),
        ("--until", "soon", "write 30s, 15m, 2h"),
        ("--until", "5", "has no unit"),
    ],
)
def test_what_cannot_be_is_refused(bench: Workbench, option: str, value: str, says: str):
    done = work(bench, option, value)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert not bench.store.root.exists()
