"""The verb `reproduce`, which trains recorded runs again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, Overrides, StoreFolder, StudyFile, load, open_store, usable_devices
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, INTERRUPTED, print_rows
from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.reproduce import Reproduced
    from titans_lab.run.run import Run
    from titans_lab.store.query import Snapshot


def reproduce(
    study: StudyFile,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--runs", min=1, help="Runs to train again, drawn at random.")] = 2,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Train a random sample of a study's finished runs again and compare their recorded numbers.

    The runs are trained in a temporary store on this machine. All numbers have to be equal to the last bit where the
    runs promise it (`deterministic`) and device, torch, threads, kernel and micro-batch are the same. Elsewhere the
    final loss and score have to agree within 2 %, and what differs is named.
    Exit code 0: all are reproduced; 3: a number differs, or a run failed.
    """
    from titans_lab.launch import refuse_too_few
    from titans_lab.report.subject import of_study
    from titans_lab.reproduce import sample
    from titans_lab.store.query import Snapshot

    records = open_store(store, there=True)
    loaded, runs = load(study, overrides)
    devices = usable_devices()
    refuse_too_few(loaded, devices)
    snapshot = Snapshot(records.root)
    chosen = sample(of_study(loaded, runs, snapshot).runs, snapshot, count)
    if not chosen:
        raise UserError(f"{study}: the store at {records.root} has no finished run of it; sweep it first")
    with tempfile.TemporaryDirectory(prefix="titans-lab-") as folder:
        found = list(_again(chosen, Path(folder), snapshot, devices))
    if form != "table":
        rows = (asdict(each).values() for each in found)
        print_rows(("run_id", "label", "exact", "why", "compared", "differences"), rows, form)
    else:
        for each in found:
            _tell(each)
    if any(each.differences for each in found):
        raise typer.Exit(FAILED)


def _again(runs: list[Run], root: Path, recorded: Snapshot, devices: list[Device]) -> Iterator[Reproduced]:
    """Train runs in a store of their own and compare each with its record."""
    from titans_lab.cli.watch import watching
    from titans_lab.executors.local import LocalExecutor
    from titans_lab.reproduce import compare, copy_parents
    from titans_lab.store.query import Snapshot
    from titans_lab.store.store import Store
    from titans_lab.sweep import Sweep, record_runs

    again = Store(root)
    copy_parents(runs, Store(recorded.root), again)
    waiting = record_runs(runs, again)
    try:
        with terminable(), watching(runs) as look:
            Sweep(again, LocalExecutor(), devices, waiting).run(look)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was compared", err=True)
        raise typer.Exit(INTERRUPTED) from None
    snapshot = Snapshot(root)
    yield from (compare(run, recorded, snapshot) for run in runs)


def _tell(found: Reproduced) -> None:
    how = "to the last bit" if found.exact else f"within the tolerance only ({found.why})"
    if not found.differences:
        typer.echo(f"{found.run_id}  {found.label}: reproduced {how}, {found.compared} numbers")
        return
    typer.echo(f"{found.run_id}  {found.label}: NOT reproduced, compared {how}")
    for line in found.differences:
        typer.echo(f"  {line}")
