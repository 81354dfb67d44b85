from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from workbench import MINUTES, Workbench, python_job, until

import titans_lab.executors.local as local
from titans_lab.executors.devices import Device, cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.store.claims import AlreadyRunning, Holder
from titans_lab.store.folder import RunFolder
from titans_lab.store.recorder import Recorder

CORE = cores()[0]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return Workbench.at(tmp_path).recorded()


def test_a_run_is_with_its_worker_from_the_start_until_that_is_killed(folder: RunFolder):
    job = LocalExecutor().submit(folder, CORE)
    assert (folder.state(), job.poll()) == ("running", None)
    assert (job.attempt, job.device) == (folder.latest(), CORE)
    with pytest.raises(AlreadyRunning):
        LocalExecutor().submit(folder, CORE)
    until(lambda: job.attempt.claim.holder() == Holder.of(job.process.pid), "the worker has taken over the claim")
    job.process.kill()
    job.wait()
    assert job.poll() == "the worker was killed by SIGKILL: perhaps the machine ran out of memory"
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


def test_how_a_worker_ended_is_said_in_words(folder: RunFolder):
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
