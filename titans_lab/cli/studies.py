"""Verbs that plan, run and watch a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import (
    AsCsv,
    AsJson,
    Overrides,
    StoreFolder,
    StudyFile,
    load,
    open_store,
    refuse_kernels,
    usable_devices,
)
from titans_lab.cli.checks import verify_first
from titans_lab.cli.output import FAILED, INTERRUPTED
from titans_lab.cli.upkeep import compact_many

if TYPE_CHECKING:
    from titans_lab.plan import PlannedRun
    from titans_lab.store.folder import Store
    from titans_lab.study.hold import Hold
    from titans_lab.study.study import Run
    from titans_lab.sweep import Sweep


def plan(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List a study's runs with their size and cost, and which are there already. Runs nothing."""
    from titans_lab.cli.output import print_rows
    from titans_lab.plan import plan as plan_runs

    loaded, runs = load(study, overrides)
    planned = plan_runs(loaded.launch_order(runs), open_store(store))
    if as_csv or as_json:
        names = [field.name for field in dataclasses.fields(planned[0])]
        print_rows(names, ([getattr(row, name) for name in names] for row in planned), as_csv, as_json)
        return
    _print_plan(planned, loaded.hold)


def sweep(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    workers: Annotated[int | None, typer.Option(min=1, help="At most so many at a time; else one a device.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Verify first what this device has not computed here before.")
    ] = True,
) -> None:
    """Run what is missing of a study, one worker on each GPU, or on each core where there is none.

    Exit code 0: every run has a result; 3: some failed or the budget is spent, the others are done, or a formula came
    out wrong on this machine, and nothing was started; 130: interrupted, the next sweep goes on.
    """
    from titans_lab.cli.watch import watching
    from titans_lab.executors.local import LocalExecutor
    from titans_lab.study.record import study_record
    from titans_lab.sweep import Sweep, record_runs, record_study

    loaded, runs = load(study, overrides)
    devices = usable_devices(workers)
    refuse_kernels(runs, devices)
    records = open_store(store)
    waiting = record_runs(runs, records)
    record_study(study_record(loaded, runs, overrides or []), records)
    typer.echo(f"{loaded.name}: {len(runs)} runs, {len(waiting)} to do; store {records.root}", err=True)
    if verify:
        verify_first(waiting, devices, records)
    work = Sweep(records, LocalExecutor(), devices, loaded.launch_order(waiting), budget=loaded.budget)
    try:
        with watching(waiting) as look:
            work.run(look)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _conclude(work, records, runs)


def _print_plan(planned: Sequence[PlannedRun], hold: Hold | None) -> None:
    """The runs as a table, and what is to do."""
    from titans_lab.cli.output import count, print_table

    names: tuple[str, ...] = ("run", "id", "state", "parameters", "tokens", "FLOPs", "state bytes")
    figures = ("parameters", "tokens", "flops", "state_bytes")
    rows = [[row.label, row.run_id, row.state, *(count(getattr(row, name)) for name in figures)] for row in planned]
    if hold:
        names = (*names, f"{hold.what} held")
        rows = [[*cells, _held(row)] for cells, row in zip(rows, planned, strict=True)]
    print_table(names, rows)
    missing = [row for row in planned if row.state not in ("done", "diverged")]
    cost = f"{count(sum(row.tokens for row in missing))} tokens, {count(sum(row.flops for row in missing))} FLOPs"
    typer.echo(f"\n{len(planned)} runs, {len(missing)} to do: {cost}")


def _held(row: PlannedRun) -> str:
    """What was solved for a run, and how far that is from what is held."""
    from titans_lab.study.axes import assignment

    solved = (assignment(key, value) for key, value in row.solved.items())
    return " ".join((*solved, f"{row.deviation:+.2%}"))


def _conclude(work: Sweep, store: Store, runs: list[Run]) -> None:
    """Compact the store where that pays; say what failed and why, and what was not begun."""
    compact_many(store)
    failed = work.failed
    for run in runs:
        if run.run_id in failed:
            folder = store.run(run.run_id)
            state = folder.status()
            last = (state.error or "").strip().splitlines()[-1:] if state else []
            typer.echo(f"{folder.state()}: {run.label}: {''.join(last)}\n  see {folder.path}", err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(runs)} runs failed; the same command tries them again", err=True)
    if work.waiting:
        typer.echo(f"the budget is spent; {len(work.waiting)} runs were not begun, the same command goes on", err=True)
    if failed or work.waiting:
        raise typer.Exit(FAILED)
