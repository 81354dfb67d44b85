"""The verb that compares fast forms with slow ones, and the same before a sweep."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import (
    AsCsv,
    AsJson,
    Overrides,
    StoreFolder,
    load,
    open_store,
    refuse_kernels,
    usable_devices,
)
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, INTERRUPTED, duration, print_rows, print_table, progress_bar

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.store.store import Store
    from titans_lab.study.run import Run
    from titans_lab.verify.process import Row
    from titans_lab.verify.subjects import Asked

COLUMNS = ("configuration", "check", "precision", "worst error", "tolerance", "")


def verify(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file; else the default of each variant.")
    ] = None,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random numbers; else one that is new.")] = None,
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Check that on this machine the fast forms give what the slow ones give, for the models of a study.

    Exit code 0: every error is within its tolerance; 3: one is not.
    """
    from titans_lab.executors.devices import one_of_each
    from titans_lab.verify.subjects import PRECISIONS, Asked, defaults, subjects

    devices, records = usable_devices(), open_store(store)
    if study:
        runs = load(study, overrides)[1]
        refuse_kernels(runs, devices)
        plans = [(device, _asked(runs, PRECISIONS, device.kind)) for device in one_of_each(devices)]
    else:
        asked = [Asked(subject, PRECISIONS) for subject in subjects(defaults())]
        plans = [(device, asked) for device in one_of_each(devices)]
    begin = time.monotonic()
    rows = _run(plans, records, secrets.randbits(32) if seed is None else seed)
    _print(rows, time.monotonic() - begin, as_csv, as_json)
    if not all(row.ok for row in rows):
        raise typer.Exit(FAILED)


def verify_first(runs: Sequence[Run], devices: Sequence[Device], records: Store) -> None:
    """Before runs start: verify of their models, in float64 and in their precision, what the store does not know."""
    from titans_lab.executors.devices import one_of_each
    from titans_lab.verify.process import missing

    precisions = sorted({"float64", *(run.config.train.precision for run in runs)}, reverse=True)
    asked = [(device, _asked(runs, precisions, device.kind)) for device in one_of_each(devices)]
    plans = [(device, left) for device, each in asked if (left := missing(each, device, records))]
    if not plans:
        return
    rows = _run(plans, records, secrets.randbits(32))
    typer.echo(_words(rows), err=True)
    if wrong := [row for row in rows if not row.ok]:
        _show(wrong)
        typer.echo("nothing was started; `titans-lab verify` looks closer, --no-verify goes on regardless", err=True)
        raise typer.Exit(FAILED)


def _asked(runs: Sequence[Run], precisions: Sequence[str], device: str) -> list[Asked]:
    """The models of runs, each on the kernels that it runs on."""
    from titans_lab.study.derived import kernel
    from titans_lab.verify.subjects import Asked, subjects

    kernels = dict.fromkeys(kernel(run.config, device) for run in runs)
    return [
        Asked(subject, tuple(precisions), used)
        for used in kernels
        for subject in subjects(run.config.model for run in runs if kernel(run.config, device) == used)
    ]


def _run(plans: Sequence[tuple[Device, list[Asked]]], records: Store, seed: int) -> list[Row]:
    from titans_lab.verify.process import count_checks, verify

    for device, asked in plans:
        models = len(asked)
        typer.echo(f"verifying {models} {'model' if models == 1 else 'models'} on {device.hardware}", err=True)
    try:
        with terminable(), progress_bar(sum(count_checks(asked) for _, asked in plans)) as tell:
            look = _teller(tell)
            return [row for device, asked in plans for row in verify(asked, device, records, seed, look)]
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _teller(tell: Callable[[str], None]) -> Callable[[Row], None]:
    return lambda row: tell(f"{row.configuration}  {row.check}  {row.precision}")


def _print(rows: Sequence[Row], seconds: float, as_csv: bool, as_json: bool) -> None:
    from titans_lab.verify.process import Row
    from titans_lab.verify.reduced import WORDS

    if as_csv or as_json:
        names = [field.name for field in dataclasses.fields(Row)]
        print_rows(names, map(dataclasses.astuple, rows), as_csv, as_json)
    else:
        _show(rows)
        typer.echo(f"\n{_words(rows)}, {duration(seconds)}. {WORDS}")


def _show(rows: Sequence[Row]) -> None:
    """A table for each device."""
    for device in dict.fromkeys(row.device for row in rows):
        print(f"{device}\n")
        cells = (
            (row.configuration, row.check, row.precision, _brief(row.worst), _brief(row.tolerance), _verdict(row))
            for row in rows
            if row.device == device
        )
        print_table(COLUMNS, cells)


def _brief(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def _verdict(row: Row) -> str:
    return "ok" if row.ok else "OUT"


def _words(rows: Sequence[Row]) -> str:
    out = sum(not row.ok for row in rows)
    return f"{len(rows)} checks, {out} out of tolerance" if out else f"{len(rows)} checks, all within tolerance"
