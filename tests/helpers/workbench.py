"""A folder with a text, a study of tiny models over it and a store, for tests that run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.executors.devices import Device, cores
from titans_lab.executors.local import LocalExecutor, LocalJob
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study
from titans_lab.sweep import Sweep, record_runs

TEXT = b"the memory learns at test time, and forgets what it need not keep. " * 60
STUDY = """
question: Does it run?
base:
  model: {{variant: lmm, dim: 16, n_layers: 1, n_heads: 2, persistent_tokens: 2, memory: {{depth: 1, chunk_size: 8}}}}
  train: {{tokens: 256, seq_len: 32, batch_size: 2}}
  data: {{path: "{text}", valid_fraction: 0.1}}
  log: {{every: 3}}
"""
ENDLESS = "train.tokens=10000000"
MINUTES = 120.0  # the most that anything here may take, in seconds: machines that run tests are busy


@dataclass(frozen=True)
class Workbench:
    """A study of runs of four steps, of 64 tokens each; overrides make others of it."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> Workbench:
        """Write the text and the study."""
        bench = cls(root)
        bench.text.write_bytes(TEXT)
        bench.study.write_text(STUDY.format(text=bench.text))
        return bench

    @property
    def text(self) -> Path:
        return self.root / "text.txt"

    @property
    def study(self) -> Path:
        return self.root / "tiny.yaml"

    @property
    def store(self) -> Store:
        return Store(self.root / "results")

    def runs(self, *overrides: str) -> list[Run]:
        return load_study(self.study, overrides).runs(RunConfig.data_digest)

    def folders(self, *overrides: str) -> list[RunFolder]:
        """Return the folders of the runs, there or not."""
        return [self.store.run(run.run_id) for run in self.runs(*overrides)]

    def recorded(self, *overrides: str) -> RunFolder:
        """Return the folder of the only run, with its record."""
        [run] = self.runs(*overrides)
        record_runs([run], self.store)
        return self.store.run(run.run_id)

    def sweep(self, *overrides: str) -> Sweep:
        """Return a sweep of what is missing, not yet begun."""
        return Sweep(self.store, LocalExecutor(), cores()[:2], record_runs(self.runs(*overrides), self.store))

    def command(self, *arguments: str) -> list[str]:
        """Return the tool on this study and store: command("plan", "seeds=2"); with an interrupt as in a terminal.

        A sweep verifies nothing, unless --verify asks for it.
        """
        begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{begin}; from titans_lab.cli import main; main()"
        return [
            sys.executable,
            "-c",
            code,
            arguments[0],
            str(self.study),
            *(["--no-verify"] if arguments[0] == "sweep" else []),
            *arguments[1:],
            "--store",
            str(self.store.root),
        ]

    def call(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return run(self.command(*arguments), **environment)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*arguments), env=environ(), text=True, stdout=pipe, stderr=pipe)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        from titans_lab.store.query import query

        return query(self.store.root, sql).to_pylist()


def environ(**changes: str) -> dict[str, str]:
    """Return the environment without a GPU, so that a test means the same on every machine."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": ""} | changes


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output as text."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=MINUTES, env=environ(**environment)
    )


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition; what it gave."""
    end = time.monotonic() + MINUTES
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {MINUTES} s")


def python_job(attempt: Attempt, device: Device, code: str = "") -> LocalJob:
    """Return a job whose process runs some lines of Python and ignores all else."""
    command = [sys.executable, "-c", code]
    return LocalJob(attempt, device, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))


def begun(folder: RunFolder) -> Any:
    """Return the first line of metrics of the latest attempt, once it is there."""
    latest = folder.latest()
    return latest and latest.metrics_path.exists() and latest.metrics_path.stat().st_size


def workers(root: Path) -> list[int]:
    """Process ids of the workers below a folder, as the system lists them."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [
        int(line.split()[0])
        for line in listed.splitlines()
        if "titans_lab.training.serve" in line and str(root) in line
    ]


def parents(words: str, root: Path) -> list[int]:
    """Process ids of the parents of processes with these words and a folder in their command."""
    listed = subprocess.run(["ps", "-eww", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if words in line and str(root) in line]


def children(pid: int, words: str) -> list[int]:
    """Process ids of a process's children with these words in their command."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return [int(row[0]) for row in rows if row[1] == str(pid) and words in row[2]]


def alive(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.startswith("Z")


def stop(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal and wait for the end."""
    os.kill(pid, number)
    until(lambda: not alive(pid), f"the end of process {pid}")
