"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.store.store import Store
    from titans_lab.study.run import Run
    from titans_lab.study.study import Study


def duration(text: str) -> float:
    """Return the seconds that an option's duration has."""
    from titans_lab.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def size(words: str) -> int:
    """Return the bytes of a size as users write it: 512M, 4G or 4GB, with 1K as 1024 bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?)(?:I?B)?", words.strip().upper())
    if not match:
        raise typer.BadParameter(f"{words!r} is no size; write 512M or 4G")
    return int(float(match[1]) * 2 ** (10 * " KMGT".index(match[2] or " ")))


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, such as studies/depth.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides of the study, such as train.tokens=2000000 or seeds=5."),
]
MaxParallel = Annotated[int | None, typer.Option(min=1, help="Runs at a time; else one on each device.")]
PerDevice = Annotated[int, typer.Option(min=1, help="Runs at a time on each device.")]
Timeout = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="Stop each run that takes longer: 30s, 15m, 2h or 1h30m."),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="End at the first run that fails.")]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Verify first what this device has not computed here before.")
]
StoreFolder = Annotated[
    Path | None,
    typer.Option("--store", metavar="FOLDER", help="Where runs are kept; else $TITANS_LAB_STORE, else ./results."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
States = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE,...", help="Only runs in one of these states, such as failed,oom."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        help='Only runs for which this holds, such as "model.memory.depth > 1 and seed == 0".',
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY|RUN", help="Studies, by file or name, as last swept; starts of runs' ids."),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]


def open_store(folder: Path | None, there: bool = False) -> Store:
    """The store that the user means; unless it has to be there, it need not exist yet."""
    from titans_lab.errors import UserError
    from titans_lab.store.store import Store

    root = folder or Path(os.environ.get("TITANS_LAB_STORE") or "results")
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: not a folder; name the store with --store or TITANS_LAB_STORE")
    if there and not root.exists():
        raise UserError(f"{root}: no such folder; name the store with --store or TITANS_LAB_STORE")
    return Store(root)


def load(path: Path, overrides: list[str] | None) -> tuple[Study, list[Run]]:
    """The study and its runs; warnings go to stderr."""
    from titans_lab.study.config import RunConfig
    from titans_lab.study.study import load_study

    study = load_study(path, overrides or [])
    warn(study)
    runs = study.runs(RunConfig.data_digest)
    study.check(RunConfig.check_data)
    sources = {(run.config.data, run.config.task): run.config for run in runs}.values()
    for line in dict.fromkeys(line for each in sources for line in each.task.settings.warnings(each.data)):
        typer.echo(f"warning: {line}", err=True)
    if len(runs) < study.combinations:
        same = study.combinations - len(runs)
        typer.echo(f"note: {same} of {study.combinations} combinations are the same run as another one", err=True)
    return study, runs


def warn(study: Study) -> None:
    """Say on stderr what in a study is probably not meant."""
    for warning in study.warnings:
        typer.echo(f"warning: {warning}", err=True)


def usable_devices() -> list[Device]:
    """Every GPU that torch can use, else every core."""
    from titans_lab.executors.devices import cores, gpus, torch_sees_gpus

    found = gpus()
    if found and not torch_sees_gpus():
        names = ", ".join(gpu.name for gpu in found)
        typer.echo(
            f"warning: nvidia-smi lists {names}, but torch cannot use a GPU (a CPU build, or a driver too old?); "
            "running on the CPU",
            err=True,
        )
        found = []
    return found or cores()


def refuse_kernels(runs: Sequence[Run], devices: Sequence[Device]) -> None:
    """UserError where a run asks for a kernel that its device does not have."""
    from titans_lab.errors import UserError

    asked = {run.config.speed.kernel for run in runs} & {"triton", "fla"}
    if devices[0].kind == "cpu" and asked:
        raise UserError(
            f"speed.kernel: {max(asked)} is for a GPU, and torch can use none here; set it to auto or compiled"
        )
