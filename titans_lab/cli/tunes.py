"""The verb `tune`, which searches hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from titans_lab.cli.clusters import (
    Ask,
    DryRun,
    On,
    Profile,
    Settings,
    crew_of,
    print_request,
    worker_options,
)
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, end_interrupted, note, print_document
from titans_lab.cli.trials import TrialLines, print_arm, print_finals, print_trials
from titans_lab.quantities import plural
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.launch import Options
    from titans_lab.run.run import Run
    from titans_lab.search.coordinator import Coordinator
    from titans_lab.search.dashboard import Dashboard
    from titans_lab.search.runner import Runner
    from titans_lab.search.tuning import Tuning
    from titans_lab.store.store import Store
    from titans_lab.study.study import Study
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
    on: On = "local",
    profile: Profile = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    form: Form = "table",
) -> None:
    """Search hyperparameters as the block `search` of a study says. Every trial is one ordinary run or several.

    The block sets the number of trials and the time in which they may start. The same command continues an
    interrupted search. With --on, this process chooses the trials, and workers on a cluster train their runs.

    Exit code 0: every trial has ended. 3: trials failed, a budget is spent, or verification failed and nothing was
    started. 130: interrupted.
    """
    from titans_lab.launch import Options
    from titans_lab.study.study import load_study

    if dashboard:
        from titans_lab.search.dashboard import require_package

        require_package()
    worker = [*worker_options(per_device, timeout, verify), "--trials"]
    ask = Ask(on, profile, settings or (), dry_run, fail_fast=fail_fast, worker=worker)
    ask.check(None)
    loaded = load_study(study, overrides or [])
    warn(loaded)
    records, options = open_store(store), Options(max_parallel, per_device, timeout, fail_fast)
    if on == "local":
        search = _local(loaded, records, options, strict, run, verify)
    else:
        search = _remote(ask, loaded, records, options, strict, overrides or [])
    if dry_run:
        return
    if run:
        with _shown(dashboard) as board:
            _run(search, board)
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


def _local(study: Study, records: Store, options: Options, strict: bool, run: bool, verify: bool) -> Coordinator:
    """Return the coordinator of a search on this machine, which can train the runs."""
    from titans_lab.search.coordinator import coordinator_of

    devices = usable_devices()
    search = coordinator_of(study, records, devices, options)
    warn_of_edits(search.finished_envs(), strict)
    if run:
        _check(study, search.tunings, devices)
        if verify:
            verify_first(_examples(search.tunings), devices, records)
    return search


def _remote(
    ask: Ask, study: Study, records: Store, options: Options, strict: bool, overrides: Sequence[str]
) -> Coordinator:
    """Return the coordinator of a search whose runs workers on a cluster train. With --dry-run, print the request."""
    from titans_lab.search.coordinator import checked_tunings, remote_coordinator_of

    found = checked_tunings(study, records)
    names = [tuning.goal.name for tuning in found]
    crew = crew_of(ask, ", ".join(names), study, names, records, overrides)
    search = remote_coordinator_of(study, found, crew, options, note)
    warn_of_edits(search.finished_envs(), strict)
    if ask.dry_run:
        print_request(crew, search.at_once)
        note(f"{study.name}: nothing was submitted")
    return search


def work_on_trials(
    path: Path,
    overrides: list[str],
    records: Store,
    devices: Sequence[Device],
    options: Options,
    submission: str | None,
    verify: bool,
) -> Sweep:
    """Train runs of a search's trials as one of its workers, and return the sweep over them when it has ended."""
    from titans_lab.crew import check_unchanged
    from titans_lab.search.coordinator import checked_tunings
    from titans_lab.search.worker import worker_of
    from titans_lab.study.study import load_study

    study = load_study(path, overrides)
    warn(study)
    found = checked_tunings(study, records)
    if submission:
        check_unchanged(records, submission, [tuning.goal.name for tuning in found])
    _check(study, found, devices)
    if verify:
        verify_first(_examples(found), devices, records)
    worker, sweep = worker_of(found, records, devices, options)
    said: set[tuple[str, str]] = set()

    def look(now: Sweep) -> bool:
        more = worker.look(now)
        events = {("started", run_id) for run_id in now.active} | {
            (state, run_id) for run_id, state in now.ended.items()
        }
        for state, run_id in sorted(events - said):
            note(f"{state:9} {run_id}")
        said.update(events)
        return more

    try:
        with terminable():
            sweep.run(look)
    except KeyboardInterrupt:
        end_interrupted("another worker continues")
    if not (worker.lives or sweep.ended):
        note("no `titans-lab tune` of this search is running; start one, which chooses the trials")
    return sweep


def _check(study: Study, tunings: Sequence[Tuning], devices: Sequence[Device]) -> None:
    """Raise UserError where a run of a search cannot be trained on these devices."""
    from titans_lab.launch import refuse_kernels, refuse_too_few

    refuse_kernels(_examples(tunings), devices)
    refuse_too_few(study, devices)


def _examples(tunings: Sequence[Tuning]) -> list[Run]:
    return [run for tuning in tunings for run in tuning.examples()]


def _run(search: Coordinator, board: Dashboard | None) -> None:
    """Run a search, with a line on standard error for each trial that has ended, and a dashboard if there is one."""
    trials, arms = search.tunings[0].goal.terms.trials, len(search.tunings)
    each = plural(trials, "trial") + (f" for each of {arms} arms" if arms > 1 else "")
    note(f"{search.study.name}: {each}; store {search.store.root}")
    from titans_lab.launch import compact_if_worthwhile

    try:
        with terminable():
            search.run(_looks(TrialLines(), board))
    except KeyboardInterrupt:
        leaves = search.crew is not None and search.crew.engine.detaches
        ends = "; the workers end when their runs have ended" if leaves else ""
        end_interrupted(f"the same command continues from here{ends}")
    if words := compact_if_worthwhile(search.store):
        note(words)


def _looks(lines: TrialLines, board: Dashboard | None) -> Callable[[Coordinator, Runner], None]:
    def look(search: Coordinator, runner: Runner) -> None:
        lines.look(search, runner)
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
        note(f"{search.why or 'the budget is spent'}; the same command continues")
