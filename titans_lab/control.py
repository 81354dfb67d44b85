"""Cancel runs, and move runs and studies into a store's trash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.selection import named_runs, named_studies
from titans_lab.store.store import Store, writing

Rows = Sequence[dict[str, Any]]  # the rows of a `Selection`


@dataclass(frozen=True)
class Cancellation:
    """The attempts that a cancellation asked to stop.

    Attributes:
        attempts: The run_id, number and host of each attempt that was asked to stop.
        waiting: The number of runs that have not begun, so that there is nothing to stop.
    """

    attempts: list[dict[str, Any]]
    waiting: int


@dataclass(frozen=True)
class Removal:
    """The runs and records that may be moved to the trash.

    Attributes:
        runs: The folders of runs.
        studies: The records of studies.
        kept: The number of runs that stay: another study has them, or they or others of their study are running.
    """

    runs: list[Path]
    studies: list[Path]
    kept: int


@dataclass(frozen=True)
class Removed:
    """The runs and studies that were moved to the trash.

    Attributes:
        runs: The ids of the runs.
        studies: The names of the studies.
        kept: The number of runs that stay.
        trash: The folder in the trash, or None where nothing was moved.
    """

    runs: list[str]
    studies: list[str]
    kept: int
    trash: Path | None


def cancel(store: Store, rows: Rows) -> Cancellation:
    """Ask those of some runs that are running, on any machine, to stop after their current step."""
    asked = []
    for row in rows:
        latest = store.run(row["run_id"]).latest()
        if row["state"] == "running" and latest:
            latest.ask_to_stop("cancelled", "titans-lab cancel")
            asked.append({"run_id": row["run_id"], "attempt": latest.number, "host": row["host"]})
    return Cancellation(asked, sum(row["state"] in ("pending", "lost") for row in rows))


def removal(store: Store, targets: Sequence[str], rows: Rows, with_studies: bool) -> Removal:
    """Return which of some runs and studies can be removed. A study with a running run stays as a whole.

    Args:
        store: The store.
        targets: The studies and runs that the user named.
        rows: The selected runs.
        with_studies: Whether to move the records of the studies, too.
    """
    studies = {path.stem: path for path in store.study_paths()}
    running = {row["run_id"] for row in rows if row["state"] == "running"}
    meant = {path.stem for target in targets for path in named_studies(store, target)}
    named = {name for name in meant if running.isdisjoint(named_runs(store, name))}
    other_studies = studies.keys() - named if meant else ()
    others = {run_id for name in other_studies for run_id in named_runs(store, name)}
    own = {run_id for target in targets if not named_studies(store, target) for run_id in named_runs(store, target)}
    mine = (row for row in rows if row["run_id"] in own or row["run_id"] not in others)
    free = [row for row in mine if row["run_id"] not in running]
    records = [studies[name] for name in sorted(named)] if with_studies else []
    return Removal([store.run(row["run_id"]).path for row in free], records, len(rows) - len(free))


def remove(store: Store, given: Removal) -> Removed:
    """Move runs and studies to the trash, but for runs that a sweep has started since."""
    runs = [path for path in given.runs if store.run(path.name).state() != "running"]
    kept = given.kept + len(given.runs) - len(runs)
    with writing(store):
        trash = store.set_aside([*runs, *given.studies], "trash") if runs or given.studies else None
    return Removed([path.name for path in runs], [path.stem for path in given.studies], kept, trash)
