"""Verbs that run and watch a study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from titans_lab.cli.arguments import (
    FailFast,
    MaxParallel,
    Overrides,
    PerDevice,
    StoreFolder,
    StudyFile,
    Timeout,
    Verify,
    load,
    open_store,
    refuse_kernels,
    usable_devices,
)
from titans_lab.cli.checks import verify_first
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, INTERRUPTED
from titans_lab.cli.reports import summarise
from titans_lab.cli.runs import tell
from titans_lab.cli.upkeep import compact_many

if TYPE_CHECKING:
    from titans_lab.store.store import Store
    from titans_lab.study.run import Run
    from titans_lab.study.study import Study
    from titans_lab.sweep import Sweep


def sweep(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
) -> None:
    """Run what is missing of a study, one run on each GPU, or on each core where there is none.

    The same command goes on where an earlier one was interrupted.
    Exit code 0: every run has a result.
    3: some failed or the budget is spent; or a formula came out wrong on this machine, and nothing was started.
    130: interrupted.
    """
    loaded, runs = load(study, overrides)
    how = Launch(max_parallel, per_device, timeout, fail_fast, verify)
    if not launch(loaded, runs, overrides or [], open_store(store), how):
        raise typer.Exit(FAILED)


@dataclass(frozen=True)
class Launch:
    """The options of sweep."""

    max_parallel: int | None
    per_device: int
    timeout: float | None
    fail_fast: bool
    verify: bool


def launch(
    loaded: Study, runs: list[Run], overrides: list[str], records: Store, how: Launch, again: Sequence[Run] = ()
) -> bool:
    """Run what is missing, and those of `again` whose results are laid aside, once nothing speaks against it.

    Whether every run has a result then.
    """
    from titans_lab.executors.local import LocalExecutor
    from titans_lab.executors.slots import places
    from titans_lab.planning.plan import expected_seconds
    from titans_lab.status import damage_of
    from titans_lab.store.store import writing
    from titans_lab.sweep import Sweep, record_runs, record_study

    devices = usable_devices()
    refuse_kernels(runs, devices)
    damage = damage_of(runs, records)  # which the next line mends where it can
    waiting = record_runs(runs, records, expected_seconds(runs, records, devices[0]))
    tell(damage)
    missing = {run.run_id for run in waiting}
    finished = [run for run in again if run.run_id not in missing]
    waiting += finished
    record_study(loaded.record(runs, overrides), records)
    typer.echo(f"{loaded.name}: {len(runs)} runs, {len(waiting)} to do; store {records.root}", err=True)
    if how.verify:
        verify_first(waiting, devices, records)
    with writing(records):
        for run in finished:
            records.run(run.run_id).archive()
    work = Sweep(
        records,
        LocalExecutor(),
        places(devices, how.per_device),
        loaded.launch_order(waiting),
        budget=loaded.budget,
        timeout=how.timeout or math.inf,
        most=how.max_parallel,
        fail_fast=how.fail_fast,
    )
    _run(work, waiting)
    if work.ended:
        summarise(loaded, runs, records.root)
    return _conclude(work, records, runs)


def _run(work: Sweep, waiting: list[Run]) -> None:
    """Run all, and show how it goes on."""
    from titans_lab.cli.watch import watching

    try:
        with terminable(), watching(waiting) as look:
            work.run(look)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _conclude(work: Sweep, store: Store, runs: list[Run]) -> bool:
    """Compact the store where that pays; say how many runs are in which state, what failed, and what was not begun.

    Whether nothing failed, and nothing is left.
    """
    compact_many(store)
    for run in runs:
        if run.run_id in work.failed:
            typer.echo(_failure(run, store, work.state(run.run_id)), err=True)
    states = Counter(work.state(run.run_id) for run in runs)
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    typer.echo(f"{len(runs)} runs: {counts}", err=True)
    if failed := work.failed:
        typer.echo(f"{len(failed)} of {len(runs)} runs failed; the same command tries them again", err=True)
    if work.waiting:
        why = "a run failed" if work.halted else "the budget is spent"
        typer.echo(f"{why}; {len(work.waiting)} runs were not begun, the same command goes on", err=True)
    return not failed and not work.waiting


def _failure(run: Run, store: Store, state: str) -> str:
    """The last line of its error, and where the whole of it is."""
    folder = store.run(run.run_id)
    status, latest = folder.status(), folder.latest()
    last = (status.error or "").strip().splitlines()[-1:] if status else []
    log = latest.log_path if latest and latest.log_path.exists() else folder.path
    return f"{state}: {run.label}: {''.join(last)}\n  see {log}"
