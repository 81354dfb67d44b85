"""Finished runs of a store, recorded without being trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from titans_lab.environment import processor
from titans_lab.run.run import Run, record_of
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store

ENV = {"device": "cpu", "device_name": processor(), "threads": 1, "kernel": "cpu", "torch": "2.0", "commit": "abc"}


def finish(runs: Sequence[Run], store: Store, env: dict[str, Any] | None = None, **summary: Any) -> None:
    """Commit them as done; a figure that is a function is asked for each run."""
    for run in runs:
        folder = store.run(run.run_id)
        folder.create(record_of(run, "synthetic"))
        figures = {name: value(run) if callable(value) else value for name, value in summary.items()}
        Recorder(folder.new_attempt(), ENV | (env or {})).commit("done", {"steps": run.config.train.steps, **figures})
