"""The verb `verify`, which compares fast forms with reference implementations, and the check before a sweep."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, Overrides, StoreFolder, load, open_store, usable_devices
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, end_interrupted, note, print_rows, print_table, progress_bar
from titans_lab.durations import spell_duration
from titans_lab.quantities import plural
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.run.run import Run
    from titans_lab.store.store import Store
    from titans_lab.verify.process import CheckRow
    from titans_lab.verify.subjects import Verification

COLUMNS = ("configuration", "check", "precision", "worst error", "tolerance", "")


def verify(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY", help="A study file. Default: the default configuration of each variant."),
    ] = None,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The random seed. Default: a new one.")] = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Check on this machine that the fast forms of a study's models agree with their reference implementations.

    Exit code 0: every error is within its tolerance. 3: an error is not.
    """
    from titans_lab.executors.devices import one_of_each
    from titans_lab.launch import refuse_kernels
    from titans_lab.verify.subjects import of_defaults, of_runs

    devices, records = usable_devices(), open_store(store)
    if study:
        runs = load(study, overrides)[1]
        refuse_kernels(runs, devices)
        plans = [(device, of_runs(runs, device.kind)) for device in one_of_each(devices)]
    else:
        plans = [(device, of_defaults(device.kind)) for device in one_of_each(devices)]
    begin = time.monotonic()
    rows = _run(plans, records, secrets.randbits(32) if seed is None else seed)
    _print(rows, time.monotonic() - begin, form)
    if not all(row.ok for row in rows):
        raise typer.Exit(FAILED)


def verify_first(runs: Sequence[Run], devices: Sequence[Device], records: Store) -> None:
    """Verify the models of runs that are not yet verified on these devices, before the runs start."""
    from titans_lab.verify.process import unverified

    if not (plans := unverified(runs, devices, records)):
        return
    rows = _run(plans, records, secrets.randbits(32))
    note(_summary(rows))
    if wrong := [row for row in rows if not row.ok]:
        _print_tables(wrong)
        note("nothing was started; `titans-lab verify` shows all checks, and --no-verify starts the runs regardless")
        raise typer.Exit(FAILED)


def _run(plans: Sequence[tuple[Device, Sequence[Verification]]], records: Store, seed: int) -> list[CheckRow]:
    from titans_lab.verify.process import count_checks, verify

    for device, wanted in plans:
        note(f"verifying {plural(len(wanted), 'model')} on {device.hardware}")
    rows: list[CheckRow] = []
    try:
        with terminable(), progress_bar(sum(count_checks(wanted) for _, wanted in plans)) as tell:
            for device, wanted in plans:
                for row in verify(wanted, device, records, seed):
                    rows.append(row)
                    tell(f"{row.configuration}  {row.check}  {row.precision}")
    except KeyboardInterrupt:
        end_interrupted()
    return rows


def _print(rows: Sequence[CheckRow], seconds: float, form: TextFormat) -> None:
    from titans_lab.verify.process import CheckRow
    from titans_lab.verify.reduced import WORDS

    if form != "table":
        names = [field.name for field in dataclasses.fields(CheckRow)]
        print_rows(names, map(dataclasses.astuple, rows), form)
    else:
        _print_tables(rows)
        print(f"\n{_summary(rows)}, {spell_duration(seconds)}. {WORDS}")


def _print_tables(rows: Sequence[CheckRow]) -> None:
    """Print a table for each device."""
    for device in dict.fromkeys(row.device for row in rows):
        print(f"{device}\n")
        cells = (
            (
                row.configuration,
                row.check,
                row.precision,
                _brief(row.worst),
                _brief(row.tolerance),
                "ok" if row.ok else "OUT",
            )
            for row in rows
            if row.device == device
        )
        print_table(COLUMNS, cells)


def _brief(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def _summary(rows: Sequence[CheckRow]) -> str:
    out = sum(not row.ok for row in rows)
    return f"{plural(len(rows), 'check')}, {f'{out} out of' if out else 'all within'} tolerance"
