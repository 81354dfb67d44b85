"""Measure the progress of a sweep from the metrics that its workers write."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import monotonic

from titans_lab.run import derived
from titans_lab.run.run import Run, labels
from titans_lab.store.folder import Attempt
from titans_lab.store.logs import latest_row
from titans_lab.sweep import Sweep


@dataclass(frozen=True)
class RunProgress:
    """A run that this sweep executes. Its figures are None before its first line of metrics."""

    label: str
    device: str
    step: int
    steps: int
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        """Return the share of its steps that are done."""
        return self.step / self.steps


def progress_of(run: Run, attempt: Attempt, device: str, name: str = "") -> RunProgress:
    """Return the progress of a run, from the last line of an attempt's metrics.

    Args:
        run: The run.
        attempt: The attempt that trains it.
        device: The name of its device.
        name: What the run is called among others. Default: its own label.
    """
    row, steps, name = latest_row(attempt.metrics_path), run.config.train.steps, name or run.label
    if row is None or row["step"] is None or row["step_seconds"] is None:
        return RunProgress(name, device, 0, steps)
    left = (steps - row["step"]) * row["step_seconds"]
    return RunProgress(name, device, row["step"], steps, row["loss"], row["tokens_per_second"], left)


class Progress:
    """The number of runs in each state, the running runs, and the time left at the rate so far."""

    def __init__(self, runs: list[Run]) -> None:
        self.labels = labels(runs)
        self.work = {run.run_id: float(derived.flops(run.config)) for run in runs}
        self.begin = monotonic()

    def running(self, sweep: Sweep) -> list[RunProgress]:
        """Return the runs with a worker, in the order in which they were started."""
        return [
            progress_of(run, job.attempt, job.device.label, self.labels[run.run_id])
            for run, job in sweep.active.values()
        ]

    def counts(self, sweep: Sweep) -> dict[str, int]:
        """Return the number of runs by state."""
        done = Counter([*sweep.ended.values(), *sweep.skipped.values()])
        return dict(done) | {"running": len(sweep.active), "pending": len(sweep.waiting)}

    def seconds_left(self, sweep: Sweep) -> float | None:
        """Return the remaining FLOPs over the FLOP/s so far, or None before there is a rate."""
        ended = sum(self.work[run_id] for run_id, state in sweep.ended.items() if state == "done")
        active = {
            run_id: progress_of(run, job.attempt, "").fraction * self.work[run_id]
            for run_id, (run, job) in sweep.active.items()
        }
        done = ended + sum(active.values())
        ahead = sum(self.work[run.run_id] for run in sweep.waiting)
        ahead += sum(self.work[run_id] - part for run_id, part in active.items())
        return ahead * (monotonic() - self.begin) / done if done else None
