"""The script that Slurm gets, run by bash with a stand-in for the worker; `tests/cluster` has a real Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workbench import until

from titans_lab.executors.engine import WorkOrder
from titans_lab.executors.slurm import SlurmProfile, script

WORKER = """\
import signal, sys, time
from pathlib import Path

def end(number, _):
    print(signal.Signals(number).name, flush=True)
    sys.exit({signal.SIGUSR1: 4, signal.SIGTERM: 130}[number])

listens = Path(__file__).with_name("listens")
print("SIGUSR1:", signal.getsignal(signal.SIGUSR1).name)
print("began", *sys.argv[1:], flush=True)
while not listens.exists():
    time.sleep(0.01)
signal.signal(signal.SIGUSR1, end)
signal.signal(signal.SIGTERM, end)
print("listens", flush=True)
time.sleep(600)
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A script whose worker is a few lines of Python, and beside it a scontrol that writes down what it was asked."""
    (tmp_path / "worker").write_text(WORKER)
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    order = WorkOrder("20261130-120000-abcdef", [sys.executable, str(tmp_path / "worker")], tmp_path, tmp_path, 2)
    profile = SlurmProfile(setup=("echo set up",), notify=('echo "ended $code"',))
    (tmp_path / "job").write_text(script(order, profile, 2))
    return tmp_path / "job"


@pytest.mark.parametrize(
    ("number", "code", "asked"), [(signal.SIGUSR1, 4, "requeue 12_3\n"), (signal.SIGTERM, 130, "")]
)
def test_a_signal_reaches_the_worker_and_only_a_worker_out_of_time_is_requeued(
    job: Path, number: int, code: int, asked: str
):
    (job.parent / "listens").touch()
    with running(job) as (shell, output):
        until(lambda: "listens" in output.read_text(), "the worker")
        shell.send_signal(number)
    assert shell.returncode == code
    said = output.read_text().splitlines()
    assert said[0] == "set up"
    assert said[2].startswith("began --max-parallel 1 --until 34")
    assert said[4:] == [signal.Signals(number).name, f"ended {code}"]
    calls = job.parent / "asked"
    assert (calls.read_text() if calls.exists() else "") == asked


def test_a_signal_before_the_worker_listens_is_ignored(job: Path):
    with running(job) as (shell, output):
        until(lambda: "began" in output.read_text(), "the worker")
        assert "SIGUSR1: SIG_IGN" in output.read_text()
        (job.parent / "listens").touch()
        until(lambda: "listens" in output.read_text(), "the worker's handlers")
        shell.send_signal(signal.SIGTERM)


@contextmanager
def running(job: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a script of an array's element, and yield its shell and the file with what it prints."""
    path = f"{job.parent}:{os.environ['PATH']}"
    env = os.environ | {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "PATH": path}
    output = job.parent / "output"
    with output.open("w") as file, subprocess.Popen(["bash", str(job)], stdout=file, env=env) as shell:
        try:
            yield shell, output
        except BaseException:
            shell.terminate()  # the worker, too: a test that fails must not wait for its end
            raise


def test_names_with_blanks_quotes_and_percents_reach_the_worker_as_they_are(tmp_path: Path):
    folder = tmp_path / "50% of 'it'"
    folder.mkdir()
    text = script(WorkOrder("name", ["echo", "it's", "$HOME"], folder, folder, 1), SlurmProfile(gres="gpu:1"), 1)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("it's $HOME --until 34")
    [output] = [line for line in text.splitlines() if line.startswith("#SBATCH --output=")]
    assert "50%% of" in output
    assert output.endswith("%A_%a.log'")


def test_a_worker_of_several_nodes_is_told_their_names(tmp_path: Path):
    (tmp_path / "srun").write_text('#!/bin/sh\nfor name in n1 n2; do SLURMD_NODENAME=$name sh -c "$4"; done\n')
    (tmp_path / "srun").chmod(0o755)
    text = script(WorkOrder("name", ["echo"], tmp_path, tmp_path, 1), SlurmProfile(nodes=2), 1)
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks=2", "#SBATCH --ntasks-per-node=1"} <= set(text.splitlines())
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.startswith("--max-parallel 1 --nodes n1,n2 --until 34")
