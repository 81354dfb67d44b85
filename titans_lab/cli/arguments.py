"""The arguments that several verbs share, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.output import note, print_damage
from titans_lab.errors import UserError
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.run.run import Run
    from titans_lab.store.store import Store
    from titans_lab.study.study import Study


def duration(text: str) -> float:
    """Return the seconds of an option's duration."""
    from titans_lab.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def ending(text: str) -> float:
    """Return the seconds from now until an option's duration is over, or until its time."""
    from titans_lab.durations import parse_end

    try:
        return parse_end(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def size(text: str) -> int:
    """Return the bytes of memory that an option names: 512M, 4G or 4GB, where 1K is 1024 bytes."""
    return _size(text, kilo=1024)


def text_size(text: str) -> int:
    """Return the bytes of a text that an option names: 200K, 1.5M or 2G, where 1K is 1000 bytes."""
    return _size(text, kilo=1000)


def _size(text: str, kilo: int) -> int:
    from titans_lab.quantities import parse_size

    try:
        return parse_size(text, kilo)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, such as studies/depth.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides of the study, such as train.tokens=2000000 or seeds=5."),
]
MaxParallel = Annotated[
    int | None, typer.Option(min=1, help="The most runs at a time. Default: one on each device slot.")
]
PerDevice = Annotated[int, typer.Option(min=1, help="The number of runs at a time on each device.")]
Timeout = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="Stop each run that takes longer: 30s, 15m, 2h or 1h30m."),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop all runs when the first one fails.")]
Verify = Annotated[
    bool,
    typer.Option("--verify/--no-verify", help="Before any run starts, verify what is not yet verified on this device."),
]
StoreFolder = Annotated[
    Path | None,
    typer.Option("--store", metavar="FOLDER", help="The store. Default: $TITANS_LAB_STORE, or else ./results."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse, with exit code 2, if finished runs are of other source code than this."),
]
Form = Annotated[
    TextFormat,
    typer.Option(
        "--format",
        help="The format: table is rounded, csv and json have every digit. --csv and --json are short for them.",
    ),
]
States = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE,...", help="Select the runs in one of these states, such as failed,oom."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        help='Select the runs for which this is true, such as "model.memory.depth > 1 and seed == 0".',
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STUDY|RUN",
        help="Studies, by file or name, with the runs of their last sweep; or runs, by the start of their id.",
    ),
]


def open_store(folder: Path | None, there: bool = False) -> Store:
    """Return the store that the user means. Unless it has to be `there`, it need not exist yet."""
    from titans_lab.store.store import open_store

    return open_store(folder, there)


def load(path: Path, overrides: list[str] | None) -> tuple[Study, list[Run]]:
    """Return the study and its runs. Warnings go to standard error."""
    from titans_lab.launch import data_warnings, load

    study, runs = load(path, overrides or [])
    warn(study)
    for line in data_warnings(runs):
        note(f"warning: {line}")
    if len(runs) < study.combinations:
        same = study.combinations - len(runs)
        note(f"note: {same} of {study.combinations} combinations are the same run as another one")
    return study, runs


def warn(study: Study) -> None:
    """Print the probable mistakes of a study."""
    for warning in study.warnings:
        note(f"warning: {warning}")


def warn_of_edits(finished: Iterable[Mapping[str, Any]], strict: bool) -> None:
    """Warn, or raise UserError if that is asked for, where finished runs are of other source code than this."""
    from titans_lab.planning.edited import edited_since

    edited = edited_since(finished)
    if edited and strict:
        raise UserError(f"--strict: {edited}")
    if edited:
        note(f"warning: {edited}")


def usable_devices() -> list[Device]:
    """Return every GPU that torch can use, or else every core. A warning goes to standard error."""
    from titans_lab.launch import usable_devices

    devices, warning = usable_devices()
    if warning:
        note(f"warning: {warning}")
    return devices


def selected(records: Store, targets: list[str] | None, states: str | None, where: str | None) -> list[dict[str, Any]]:
    """Return the rows of the runs that are meant. What cannot be read goes to standard error."""
    from titans_lab.selection import Filter, select

    found = select(records, targets or (), Filter.of(states, where))
    print_damage(found.damage)
    return found.rows
