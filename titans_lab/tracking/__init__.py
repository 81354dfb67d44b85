"""Mirror runs to TensorBoard, Weights & Biases, trackio or MLflow. The store stays the truth.

A process of its own, `titans_lab.tracking.mirror`, reads what the workers write to the store. A tracker that hangs or
fails disturbs no run: the end of a sweep waits for the tracker for a while, and names a failure in one line.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.run.run import Run, labels
from titans_lab.store.store import Store, writing

#: The package of each tracker.
TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}
PATIENCE_SECONDS = 60.0  # for a tracker to send the rest after the last run


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError where a tracker is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track {name}: is not known; choose {', '.join(TRACKERS)}")
        if importlib.util.find_spec(TRACKERS[name]) is None:
            raise UserError(f"--track {name}: is not installed; pip install {TRACKERS[name]}")


@contextmanager
def mirrored(store: Store, study: str, runs: Sequence[Run], names: Sequence[str]) -> Iterator[Mirrors]:
    """Yield the mirrors of a sweep, which end with the context and then have a warning for each failure.

    Args:
        store: The store of the runs.
        study: The name of the study.
        runs: The runs that the sweep may start.
        names: The trackers, as `check_trackers` accepts them.
    """
    mirrors = Mirrors([_started(store, study, runs, name) for name in dict.fromkeys(names)] if runs else [])
    try:
        yield mirrors
    finally:
        for each in mirrors.processes:
            os.close(each.input)
        mirrors.warnings += filter(None, [each.ended() for each in mirrors.processes])


@dataclass
class Mirrors:
    """The trackers that follow a sweep.

    Attributes:
        processes: A process for each tracker.
        warnings: At the end, a line for each tracker that failed.
        told: The runs that the trackers follow. Another sweep's own trackers follow the runs that it executes.
    """

    processes: list[_Process]
    warnings: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    def follow(self, run_ids: Iterable[str]) -> None:
        """Make the trackers follow these runs too."""
        for run_id in [run_id for run_id in run_ids if run_id not in self.told]:
            self.told.add(run_id)
            for each in self.processes:
                each.tell(run_id)


class _Process:
    """A process with one tracker, which follows the runs that it is told of until its input ends."""

    def __init__(self, name: str, asked: str, log: Path) -> None:
        self.name, self.log = name, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "titans_lab.tracking.mirror"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the sweep, which ends it
            )
        assert self.process.stdin is not None
        self.input = os.dup(self.process.stdin.fileno())
        with suppress(BrokenPipeError), self.process.stdin as first:
            first.write(f"{asked}\n".encode())
        os.set_blocking(self.input, False)  # a process that hangs and never reads must not hold up the sweep

    def tell(self, run_id: str) -> None:
        """Make it follow a run. One that has ended, or that reads nothing, is named at the end."""
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self.input, f"{run_id}\n".encode())

    def ended(self) -> str:
        """Wait for its end, and return a warning, or "" where it sent everything."""
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return self._warning(f"did not end within {PATIENCE_SECONDS:g} s")
        if code == 0:
            return ""
        lines = self.log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        return self._warning(lines[-1])

    def _warning(self, reason: str) -> str:
        return f"--track {self.name}: {reason}; the store has everything, and {self.log} what the tracker said"


def _started(store: Store, study: str, runs: Sequence[Run], name: str) -> _Process:
    folder = store.tracking_folder(name)
    with writing(store):
        folder.mkdir(parents=True, exist_ok=True)
    asked = {"store": str(store.root.absolute()), "study": study, "tracker": name, "labels": labels(runs)}
    return _Process(name, json.dumps(asked), folder.parent / f"{name}.log")
