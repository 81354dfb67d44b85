"""The verb that searches."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import (
    AsJson,
    FailFast,
    MaxParallel,
    Overrides,
    PerDevice,
    StoreFolder,
    StudyFile,
    Timeout,
    Verify,
    open_store,
    refuse_kernels,
    usable_devices,
    warn,
)
from titans_lab.cli.checks import verify_first
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, INTERRUPTED
from titans_lab.cli.trials import TrialLines, arm_summary, final_row, print_arm, print_finals
from titans_lab.cli.upkeep import compact_many
from titans_lab.tables import plain

if TYPE_CHECKING:
    from titans_lab.search.coordinator import Search


def tune(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Search; else show what the store has.")] = True,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Optuna's SQLite, for optuna-dashboard, at the end.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search hyperparameters, as the study's block `search` says; every trial is an ordinary run of the store.

    How many trials there are, and for how long new ones may begin, is set in the block.
    Exit code 0: every trial has ended.
    3: some failed or a budget is spent; or a formula came out wrong on this machine, and nothing was started.
    130: interrupted. The same command goes on.
    """
    from titans_lab.executors.local import LocalExecutor
    from titans_lab.executors.slots import places
    from titans_lab.search.coordinator import Search, tunings
    from titans_lab.study.config import RunConfig
    from titans_lab.study.study import load_study

    loaded = load_study(study, overrides or [])
    warn(loaded)
    records, devices = open_store(store), usable_devices()
    found = tunings(loaded, records, RunConfig.data_digest)
    for each in found:
        each.arm.base.config.check_data()
    search = Search(
        loaded,
        found,
        records,
        LocalExecutor(),
        places(devices, per_device),
        max_parallel,
        timeout=found[0].goal.terms.timeout,
        run_timeout=timeout or math.inf,
        fail_fast=fail_fast,
    )
    if run:
        first = [run for each in found for run in each.examples()]
        refuse_kernels(first, devices)
        if verify:
            verify_first(first, devices, records)
        _run(search)
        compact_many(records)
    else:
        search.load()
    _show(search, as_json)
    if export:
        _export(search, export)
    if run and (search.failed or search.left):
        _conclude(search)


def _run(search: Search) -> None:
    """Search, with a line on stderr for each trial that has ended."""
    trials, arms = search.tunings[0].goal.terms.trials, len(search.tunings)
    each = f"{trials} trials" + (f" for each of {arms} arms" if arms > 1 else "")
    typer.echo(f"{search.study.name}: {each}; store {search.store.root}", err=True)
    try:
        with terminable():
            search.run(TrialLines().look)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _show(search: Search, as_json: bool) -> None:
    """What was found, on stdout."""
    from titans_lab.search.finalists import tuned

    found = [arm_summary(tuning) for tuning in search.tunings]
    for summary, finals in zip(found, search.finals, strict=False):
        summary["finalists"] = [final_row(each) for each in finals]
    between = [final_row(each) for each in tuned(search.tunings, search.finals)] if search.finals else []
    if as_json:
        print(json.dumps(plain({"searches": found, "tuned_arms": between}), indent=1, default=str))
        return
    for tuning, summary in zip(search.tunings, found, strict=True):
        print_arm(tuning, summary)
    if between:
        typer.echo("\nthe tuned arms beside each other, with fresh seeds")
        print_finals(between)


def _export(search: Search, path: Path) -> None:
    from titans_lab.search.proposer import export

    export([(tuning.goal, list(tuning.trials.values())) for tuning in search.tunings], path)
    typer.echo(f"written: {path}", err=True)


def _conclude(search: Search) -> None:
    if search.failed:
        typer.echo(f"{search.failed} failed; the same command tries them again", err=True)
    if search.left:
        why = "a run failed" if search.halted else "the budget is spent"
        typer.echo(f"{why}; the same command goes on", err=True)
    raise typer.Exit(FAILED)
