from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from workbench import ENDLESS, MINUTES, Workbench, alive, begun, python_job, until

import titans_lab.executors.local as local
from titans_lab.executors.devices import Device, cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.executors.slots import DeviceBusy
from titans_lab.store.claims import AlreadyRunning, Holder
from titans_lab.store.folder import RunFolder
from titans_lab.store.recorder import Recorder
from titans_lab.sweep import record_runs

CORE = cores()[0]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return Workbench.at(tmp_path).recorded()


def test_a_run_is_with_its_worker_from_the_start_until_that_is_killed(folder: RunFolder):
    job = LocalExecutor().submit(folder, CORE)
    assert (folder.state(), job.poll()) == ("running", None)
    assert (job.attempt, job.device) == (folder.latest(), CORE)
    with pytest.raises(AlreadyRunning):
        LocalExecutor().submit(folder, cores()[1])
    with pytest.raises(DeviceBusy):
        LocalExecutor().submit(folder, CORE)
    until(lambda: job.attempt.claim.holder() == Holder.of(job.process.pid), "the worker to take its claim over")
    job.process.kill()
    job.wait()
    assert job.poll() == "the worker was killed by SIGKILL"
    assert folder.state() == "lost"
    assert len(folder.attempts()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_sees_its_device_and_no_other(folder: RunFolder):
    job = LocalExecutor().submit(folder, Device("cuda", "GPU-77", "GPU 0 H200", "H200"))
    while not (environ := Path(f"/proc/{job.process.pid}/environ").read_text()):
        time.sleep(0.01)  # between its fork and its exec a process shows none
    given = environ.split("\0")
    command = Path(f"/proc/{job.process.pid}/cmdline").read_text().split("\0")
    job.process.kill()
    job.wait()
    assert {"CUDA_VISIBLE_DEVICES=GPU-77", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= set(given)
    assert command[command.index("--device") + 1] == "cuda"


@pytest.mark.parametrize("state", ["done", "diverged"])
def test_a_finished_run_is_not_started_again(folder: RunFolder, state: str):
    attempt = folder.new_attempt()
    Recorder(attempt, {}).commit(state, {})
    with pytest.raises(AlreadyRunning):
        LocalExecutor().submit(folder, CORE)
    assert folder.state() == state
    assert folder.latest() == attempt


def test_a_run_that_another_process_is_at_is_not_started(folder: RunFolder):
    attempt = folder.new_attempt()
    with attempt.claim.kept(), pytest.raises(AlreadyRunning):
        LocalExecutor().submit(folder, CORE)
    assert folder.latest() == attempt


def test_the_end_of_a_worker_is_described_in_words(folder: RunFolder):
    attempt = folder.new_attempt()
    ends = {"import sys; sys.exit(3)": "exit code 3", "import os; os.kill(os.getpid(), 11)": "killed by SIGSEGV"}
    for code, words in ends.items():
        job = python_job(attempt, CORE, code)
        job.process.communicate(timeout=MINUTES)
        assert str(job.poll()).endswith(words)


def test_a_worker_that_does_not_end_when_asked_is_killed(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    job = python_job(folder.new_attempt(), CORE, deaf)
    assert job.process.stdout is not None
    with job.process.stdout as lines:
        assert lines.readline()
        job.terminate()
        job.wait()
    assert "SIGKILL" in str(job.poll())


def test_small_runs_share_a_worker_and_their_numbers_are_those_of_a_new_one(tmp_path: Path):
    """The third run is the first one again, in another store."""
    for name in ("bench", "again"):
        (tmp_path / name).mkdir()
    bench, again = (Workbench.at(tmp_path / name) for name in ("bench", "again"))
    folders = [bench.store.run(run.run_id) for run in record_runs(bench.runs("seeds=2", "log.every=1"), bench.store)]
    executor = LocalExecutor()
    processes = []
    for folder in folders:
        job = executor.submit(folder, CORE)
        until(job.poll, "the end of the run")
        processes.append(job.process)
        assert folder.state() == "done"
        assert job.attempt.log_path.read_text() == ""
    assert processes[0] is processes[1]
    assert alive(processes[0].pid)
    executor.rest()
    assert not alive(processes[0].pid)
    record_runs(again.runs("seeds=2", "log.every=1", f"data.path={bench.text}"), again.store)
    repeated = again.store.run(folders[1].run_id)
    job = executor.submit(repeated, CORE)
    until(job.poll, "the end of the run")
    executor.rest()
    first, second = (folder.status() for folder in (folders[1], repeated))
    assert first is not None
    assert second is not None
    assert first.summary["loss"] == second.summary["loss"]
    assert first.summary["train_loss"] == second.summary["train_loss"]


def test_a_worker_that_is_at_work_does_not_rest_and_commits_when_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local, "GRACE_SECONDS", MINUTES)  # this machine may be busy
    executor, folder = LocalExecutor(), Workbench.at(tmp_path).recorded(ENDLESS, "log.every=1")
    job = executor.submit(folder, CORE)
    until(lambda: begun(folder), "the first line of metrics")
    executor.rest()
    assert job.poll() is None
    job.terminate()
    job.wait()
    assert job.poll() == "the worker ended with exit code 1"
    assert folder.state() == "cancelled"
    executor.rest()


def test_a_worker_that_is_asked_to_end_while_it_is_idle_ends_at_once(folder: RunFolder):
    executor = LocalExecutor()
    job = executor.submit(folder, CORE)
    until(job.poll, "the end of the run")
    assert job.idle()
    job.terminate()
    job.wait()
    assert job.process.returncode in (0, -15)
