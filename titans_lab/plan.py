"""What a study would run, and what it costs: by arithmetic alone, so for a thousand runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from titans_lab.store.folder import Store
from titans_lab.study import derived
from titans_lab.study.study import Run


@dataclass(frozen=True)
class PlannedRun:
    """A run, its state in the store and its cost.

    Attributes:
        run_id: Its name in the store.
        label: Its factors and seed, for people.
        state: As the store knows it; "pending" where it does not.
        parameters: Of the model.
        tokens: To train on.
        flops: To train, forward and backward, from start to end.
        state_bytes: What a sequence leaves behind for the next one.
        solved: What `hold` found for it, by dotted key.
        deviation: From what is held, as a share of it; None: nothing is held.
    """

    run_id: str
    label: str
    state: str
    parameters: int
    tokens: int
    flops: int
    state_bytes: int
    solved: dict[str, Any]
    deviation: float | None


def plan(runs: Sequence[Run], store: Store) -> list[PlannedRun]:
    """A row for each run, in the same order."""
    return [_planned(run, store) for run in runs]


def _planned(run: Run, store: Store) -> PlannedRun:
    return PlannedRun(
        run_id=run.run_id,
        label=run.label,
        state=store.run(run.run_id).state(),
        parameters=derived.params(run.config),
        tokens=derived.tokens(run.config),
        flops=derived.flops(run.config),
        state_bytes=derived.state(run.config),
        solved=run.solved,
        deviation=run.deviation,
    )
