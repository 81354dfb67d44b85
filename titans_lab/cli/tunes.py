"""The verb `tune`, which searches hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import (
    FailFast,
    Form,
    MaxParallel,
    Overrides,
    PerDevice,
    StoreFolder,
    Strict,
    StudyFile,
    Timeout,
    Verify,
    open_store,
    usable_devices,
    warn,
    warn_of_edits,
)
from titans_lab.cli.checks import verify_first
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, end_interrupted, note, print_document
from titans_lab.cli.trials import TrialLines, print_arm, print_finals, print_trials
from titans_lab.quantities import plural
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.search.coordinator import Coordinator
    from titans_lab.search.dashboard import Dashboard
    from titans_lab.sweep import Sweep


def tune(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Search. With --no-run, show what the store has and run nothing.")
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the search as Optuna's SQLite file, for optuna-dashboard."),
    ] = None,
    dashboard: Annotated[
        bool,
        typer.Option(help="Show the trials in optuna-dashboard while the search runs; with --no-run, until Ctrl-C."),
    ] = False,
    strict: Strict = False,
    form: Form = "table",
) -> None:
    """Search hyperparameters as the block `search` of a study says. Every trial is one ordinary run or several.

    The block sets the number of trials and the time in which they may start. The same command continues an
    interrupted search.

    Exit code 0: every trial has ended. 3: trials failed, a budget is spent, or verification failed and nothing was
    started. 130: interrupted.
    """
    from titans_lab.launch import Options, compact_if_worthwhile, refuse_kernels, refuse_too_few
    from titans_lab.search.coordinator import coordinator_of
    from titans_lab.study.study import load_study

    if dashboard:
        from titans_lab.search.dashboard import require_package

        require_package()
    loaded = load_study(study, overrides or [])
    warn(loaded)
    records, devices = open_store(store), usable_devices()
    search = coordinator_of(loaded, records, devices, Options(max_parallel, per_device, timeout, fail_fast))
    warn_of_edits(search.finished_envs(), strict)
    if run:
        examples = [run for tuning in search.tunings for run in tuning.examples()]
        refuse_kernels(examples, devices)
        refuse_too_few(loaded, devices)
        if verify:
            verify_first(examples, devices, records)
        with _shown(dashboard) as board:
            _run(search, board)
        if words := compact_if_worthwhile(records):
            note(words)
    else:
        search.load()
    _print(search, form)
    if export:
        search.export(export)
        note(f"written: {export}")
    if dashboard and not run:
        _show(search)
    if run and (search.failed or search.left):
        _say_left(search)
        raise typer.Exit(FAILED)


@contextmanager
def _shown(wanted: bool) -> Iterator[Dashboard | None]:
    """Serve a dashboard in the block where one is wanted, and print its address."""
    if not wanted:
        yield None
        return
    from titans_lab.search.dashboard import dashboard

    with dashboard() as board:
        note(f"dashboard: {board.address}")
        yield board


def _show(search: Coordinator) -> None:
    """Show the trials of the store in a dashboard until the user ends it."""
    with _shown(True) as board, terminable(), suppress(KeyboardInterrupt):
        assert board is not None
        board.look(search)
        note("Ctrl-C ends it")
        Event().wait()


def _run(search: Coordinator, board: Dashboard | None) -> None:
    """Run a search, with a line on standard error for each trial that has ended, and a dashboard if there is one."""
    trials, arms = search.tunings[0].goal.terms.trials, len(search.tunings)
    each = plural(trials, "trial") + (f" for each of {arms} arms" if arms > 1 else "")
    note(f"{search.study.name}: {each}; store {search.store.root}")
    try:
        with terminable():
            search.run(_looks(TrialLines(), board))
    except KeyboardInterrupt:
        end_interrupted("the same command continues from here")


def _looks(lines: TrialLines, board: Dashboard | None) -> Callable[[Coordinator, Sweep], None]:
    def look(search: Coordinator, sweep: Sweep) -> None:
        lines.look(search, sweep)
        if board:
            board.look(search)

    return look


def _print(search: Coordinator, form: TextFormat) -> None:
    """Print the results on standard output."""
    from titans_lab.search.summary import summary

    found = summary(search)
    if form == "json":
        print_document(found)
        return
    if form != "table":
        print_trials(search.tunings, form)
        return
    for tuning, of_arm in zip(search.tunings, found["searches"], strict=True):
        print_arm(tuning, of_arm)
    if found["tuned_arms"]:
        print("\nThe tuned arms, with fresh seeds:")
        print_finals(found["tuned_arms"])


def _say_left(search: Coordinator) -> None:
    if search.failed:
        note(f"{search.failed} failed; the same command tries them again")
    if search.left:
        note(f"{'a run failed' if search.halted else 'the budget is spent'}; the same command continues")
