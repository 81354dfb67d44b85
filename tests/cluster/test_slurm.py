"""What happens to workers under a real Slurm of two nodes: limits, losses, preemption, and coordinators that leave."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm import Slurm
from workbench import ENDLESS, Workbench, begun, children, until

from titans_lab.store.folder import Attempt, RunFolder

pytestmark = pytest.mark.slurm

LONG = (ENDLESS, "log.every=1", "log.checkpoint_seconds=0")


def on(bench: Workbench, *arguments: str, verb: str = "sweep") -> list[str]:
    """The command on Slurm."""
    return bench.command(verb, "--on", "slurm", *arguments)


def detached(bench: Workbench, *arguments: str) -> None:
    """Submit, and leave."""
    done = bench.call("sweep", "--on", "slurm", "--detach", *arguments)
    assert done.returncode == 0, done.stderr


@contextmanager
def training(bench: Workbench, *arguments: str) -> Iterator[RunFolder]:
    """Submit a run that does not end, wait until it trains, and cancel it in the end."""
    detached(bench, *LONG, "--set", "workers=1", *arguments)
    [folder] = bench.folders(*LONG)  # options and devices change no id
    until(lambda: begun(folder), "the first line of metrics")
    try:
        yield folder
    finally:
        bench.call("cancel")


def requeued(slurm: Slurm, folder: RunFolder) -> None:
    """Wait until the job of a run's first attempt is in the queue again."""
    job = folder.attempt(1).env()["job"].removeprefix("slurm ")
    slurm.wait(lambda: [job, "PENDING"] in slurm.queue(), "the requeued job")


def continued(bench: Workbench, folder: RunFolder) -> None:
    """Let another worker continue a run: Slurm lets a requeued job wait for two minutes."""
    with bench.start("work", "--no-verify", *LONG) as worker:
        attempt = until(lambda: trains_again(folder), "a line of metrics of a later attempt")
        until(lambda: attempt.env().get("resumed_from"), "a checkpoint to resume from")
        worker.terminate()
        worker.communicate()


def trains_again(folder: RunFolder) -> Attempt | None:
    latest = folder.latest()
    return latest if latest and latest.number > 1 and begun(folder) else None


def message(bench: Workbench, attempt: Attempt) -> str:
    """The last line of an attempt's error in the view `failures`, after a look by `status`."""
    bench.call("status", *LONG)
    rows = bench.ask(f"select attempt, message from failures where run_id = '{attempt.folder.run_id}'")
    return str(next((row["message"] for row in rows if row["attempt"] == attempt.number), ""))


def test_a_run_that_its_time_limit_stops_is_requeued_and_goes_on_in_any_worker(bench: Workbench, slurm: Slurm):
    with training(bench, "--set", "time=2m", "--set", "lead=30s") as folder:
        first = folder.attempt(1)
        until(first.status, "the end of the first attempt")
        assert (first.status().state, folder.given_up()) == ("cancelled", False)
        assert "the time of the job slurm" in str(first.status().error)
        requeued(slurm, folder)
        continued(bench, folder)


def test_a_preempted_worker_is_told_from_a_cancelled_one_and_replaced(bench: Workbench, slurm: Slurm):
    with training(bench, "--set", "partition=low", "--set", "options=--nodelist=alpha") as folder:
        slurm.call(
            "sbatch", "--partition=high", "--nodelist=alpha", "--exclusive", "--wrap", "sleep 1", "-o", "/dev/null"
        )
        first = folder.attempt(1)
        until(lambda: folder.state() != "running", "the end of the first attempt")
        until(lambda: "preempted" in message(bench, first), "the reason")
        with subprocess.Popen(on(bench, *LONG, "--set", "workers=1"), stderr=subprocess.DEVNULL) as coordinator:
            until(lambda: trains_again(folder), "an attempt of another worker")
            coordinator.kill()


def test_a_run_whose_job_is_preempted_and_requeued_goes_on_in_any_worker(bench: Workbench, slurm: Slurm):
    with training(bench, "--set", "partition=again", "--set", "options=--nodelist=beta") as folder:
        slurm.call(
            "sbatch", "--partition=high", "--nodelist=beta", "--exclusive", "--wrap", "sleep 1", "-o", "/dev/null"
        )
        requeued(slurm, folder)
        continued(bench, folder)


def test_a_cancelled_study_leaves_no_worker_and_its_runs_are_not_resumed(bench: Workbench, slurm: Slurm):
    with training(bench) as folder:
        done = bench.call("cancel")
        assert "cancelled the workers of submission" in done.stderr, done.stderr
        until(lambda: folder.state() == "cancelled", "the end of the run")
        assert folder.given_up()
        until(lambda: not slurm.queue(), "an empty queue")


def test_a_node_that_is_lost_is_named_in_the_store(bench: Workbench, slurm: Slurm):
    with training(bench, "--set", "options=--no-requeue") as folder:
        first = folder.attempt(1)
        node = slurm.queue("%i %N")[0][1]
        slurm.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        until(lambda: "its node failed" in message(bench, first), "the reason")
    slurm.idle()  # the node registers again


def test_workers_of_several_arrays_leave_a_drained_node_alone(bench: Workbench, slurm: Slurm):
    slurm.call("scontrol", "update", "NodeName=beta", "State=DRAIN", "Reason=test")
    try:
        detached(bench, "seeds=5", "--set", "workers=5")  # an array has four elements at most here
        until(lambda: all(folder.state() == "done" for folder in bench.folders("seeds=5")), "all runs")
        [submission] = bench.store.submissions()
        until(lambda: bench.call("status", "seeds=5") and submission.over(), "the end of all workers")
        assert list(submission.ends().values()) == ["finished"] * 5
        assert len(submission.record()["jobs"]) == 2
    finally:
        slurm.call("scontrol", "update", "NodeName=beta", "State=RESUME")
    slurm.idle()


def test_queued_workers_refuse_a_study_that_was_edited(bench: Workbench, slurm: Slurm):
    slurm.call("scontrol", "update", "NodeName=ALL", "State=DRAIN", "Reason=test")
    try:
        detached(bench, "--set", "workers=1")
        bench.study.write_text(bench.study.read_text().replace("tokens: 256", "tokens: 320"))
    finally:
        slurm.call("scontrol", "update", "NodeName=ALL", "State=RESUME")
    [submission] = bench.store.submissions()
    until(lambda: submission.logs() and "changed since" in submission.logs()[0].read_text(), "a refusal")
    assert "1 run is new, 1 gone" in submission.logs()[0].read_text()
    slurm.wait(lambda: not slurm.queue(), "an empty queue")
    assert [folder.state() for folder in bench.folders()] == ["pending"]


TWO_NODES = ("--set", "nodes=2", "--set", "workers=1", "speed.devices=2")


def test_a_run_on_two_nodes_is_the_run_on_one_device(bench: Workbench, slurm: Slurm, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = Workbench.at(tmp_path / "other")
    other.sweep().run(lambda _: None)
    done = bench.call("sweep", "--on", "slurm", *TWO_NODES)
    assert done.returncode == 0, done.stderr
    [run], [alone] = (each.ask("select run_id, loss, train_loss, devices from runs") for each in (bench, other))
    assert (run.pop("devices"), alone.pop("devices")) == (2, 1)
    assert run.pop("run_id") == alone.pop("run_id")
    assert run == pytest.approx(alone, rel=1e-5)
    [folder] = bench.folders()
    latest = folder.latest()
    assert latest is not None
    assert latest.env()["nodes"] == 2


def test_a_rank_on_another_node_that_dies_ends_the_run_with_its_end(bench: Workbench, slurm: Slurm):
    with training(bench, *TWO_NODES) as folder:
        [rank] = [pid for step in slurm.steps() for pid in children(step, "titans_lab.training.follow")]
        os.kill(rank, signal.SIGKILL)
        until(lambda: folder.state() != "running", "the end of the run")
        status = folder.status()
        assert status is not None
        assert (status.state, status.error) == ("failed", "rank 1 of 2 was killed by SIGKILL")


def test_a_setup_that_fails_ends_the_sweep_with_the_worker_s_last_words(bench: Workbench, slurm: Slurm):
    done = bench.call("sweep", "--on", "slurm", "--set", "workers=1", "--set", "setup=echo no such module; exit 7")
    assert done.returncode == 3, done.stderr
    assert "the workers ended without progress (1 failed)" in done.stderr
    assert "no such module" in done.stderr
