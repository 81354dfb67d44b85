"""The verbs that run a study: sweep, rerun and work."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
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
    Where,
    ending,
    load,
    open_store,
    usable_devices,
)
from titans_lab.cli.checks import verify_first
from titans_lab.cli.clusters import Ask, Detach, DryRun, On, Profile, Settings, sweep_on, worker_options
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, end_interrupted, note, print_damage, print_rows
from titans_lab.cli.reports import summarise
from titans_lab.cli.tunes import work_on_trials
from titans_lab.errors import UserError
from titans_lab.quantities import plural

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.hooks import Hooks
    from titans_lab.launch import Launch, Options, SweepOutcome
    from titans_lab.run.run import Run
    from titans_lab.store.store import Store
    from titans_lab.study.study import Study


Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER", help="Mirror the runs: tensorboard, wandb, trackio or mlflow. May be given several times."
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        envvar="TITANS_LAB_NOTIFY",
        help="Run this command by the shell at the end, and when a run fails or diverges: see docs/tracking.md.",
    ),
]
OUT_OF_TIME = 4  # the exit code of a worker that leaves runs because its time is over
MARGIN_SECONDS = 10.0  # from the end of a worker's runs to its own


def sweep(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
    strict: Strict = False,
    on: On = "local",
    profile: Profile = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    detach: Detach = False,
    track: Track = None,
    notify: Notify = None,
    form: Form = "table",
) -> None:
    """Train the missing runs of a study: one at a time on each GPU, or on each core where there is no GPU.

    The same command continues an interrupted sweep. With --on, workers on a cluster train the runs.

    Exit code 0: every run has a result, or --detach. 3: runs failed, the budget is spent, or verification failed and
    nothing was started. 130: interrupted.
    """
    from titans_lab.launch import Options, prepare

    worker = worker_options(per_device, timeout, verify)
    ask = Ask(on, profile, settings or (), dry_run, detach, fail_fast, worker)
    ask.check(max_parallel)
    hooks = _hooks(track, notify, on)
    loaded, runs = load(study, overrides)
    records = open_store(store)
    if on == "local":
        options = Options(max_parallel, per_device, timeout, fail_fast, strict)
        complete = _run(prepare(loaded, runs, records, usable_devices(), options), verify, hooks)
    else:
        complete = sweep_on(ask, loaded, runs, records, overrides or [], strict)
    if form != "table" and not dry_run:
        rows = ((run.run_id, run.label, records.run(run.run_id).state()) for run in runs)
        print_rows(("run_id", "label", "state"), rows, form)
    if not complete:
        raise typer.Exit(FAILED)


def rerun(
    study: StudyFile,
    overrides: Overrides = None,
    states: Annotated[
        str,
        typer.Option(
            "--state", metavar="STATE,...", help="The states of the runs, which may be done and diverged too."
        ),
    ] = "failed,oom,timeout,cancelled,pruned,lost",
    where: Where = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
    on: On = "local",
    profile: Profile = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    detach: Detach = False,
    track: Track = None,
    notify: Notify = None,
    form: Form = "table",
) -> None:
    """Train the runs of a study that are in some states again. Their earlier results are kept in their folders.

    If there are such runs, the other missing runs of the study are trained, too. The exit codes are those of sweep.
    """
    from titans_lab.launch import Options, prepare
    from titans_lab.planning.history import read_history
    from titans_lab.selection import Filter

    ask = Ask(on, profile, settings or (), dry_run, detach, fail_fast, worker_options(per_device, timeout, verify))
    ask.check(max_parallel)
    hooks = _hooks(track, notify, on)
    loaded, runs = load(study, overrides)
    records, wanted = open_store(store), Filter.of(states, where)
    history = read_history(records)
    again = [run for run in runs if wanted.meets(history.state(run), run.config, run.seed)]
    swept, complete = [], True
    if again:
        note(f"{loaded.name}: running {len(again)} of {plural(len(runs), 'run')} again")
        swept = [run for run in runs if run in again or run in history.missing(runs)]
        if on == "local":
            options = Options(max_parallel, per_device, timeout, fail_fast)
            complete = _run(prepare(loaded, runs, records, usable_devices(), options, history, again), verify, hooks)
        else:
            complete = sweep_on(ask, loaded, runs, records, overrides or [], history=history, again=again)
    else:
        condition = f"{states.replace(',', ', ')}{f' where {where}' if where else ''}"
        note(f"{loaded.name}: nothing to run again: none of {plural(len(runs), 'run')} is {condition}")
    if form != "table":
        rows = ((run.run_id, history.state(run), records.run(run.run_id).state()) for run in swept)
        print_rows(("run_id", "was", "state"), rows, form)
    if not complete:
        raise typer.Exit(FAILED)


def work(
    study: StudyFile,
    overrides: Overrides = None,
    runs: Annotated[int | None, typer.Option("--runs", min=1, help="End after so many runs.")] = None,
    until: Annotated[
        float | None,
        typer.Option(
            parser=ending,
            metavar="TIME",
            help="Stop the runs then, for others to resume, and start none that would not reach its first checkpoint: "
            "a duration from now, such as 2h, or a time, such as 2026-11-30T18:00.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE,...", help="Use these devices only: cpu, cuda, or some, such as cuda:0,cuda:1."),
    ] = None,
    submission: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Refuse if the study or the code is not what this submission to a cluster had."
        ),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            metavar="NODE,...",
            help="The nodes of the Slurm job, this one among them, whose devices a run on several devices may use.",
        ),
    ] = None,
    trials: Annotated[
        bool,
        typer.Option(
            "--trials", help="Train the runs of the study's search, as long as a `tune` elsewhere chooses trials."
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Try runs again that failed or were cancelled. Give it to one worker only.")
    ] = False,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    verify: Verify = True,
    strict: Strict = False,
    track: Track = None,
    notify: Notify = None,
) -> None:
    """Train the missing runs of a study together with other workers, on this machine or others, that share its store.

    Start as many workers as you like, by whatever starts processes. Each claims runs until none is left but those that
    living workers hold. A run that failed is left alone, and no report is drawn.

    SIGUSR1 ends it like --until. Exit code 0: no run is left for it. 3: a run failed here or has a parent without
    weights, or verification failed. 4: its time is over, and it leaves runs to other workers. 130: interrupted.
    """
    from titans_lab.dispatch import job_words
    from titans_lab.hooks import Hooks
    from titans_lab.launch import Options, chosen, of_nodes
    from titans_lab.sweep import Notice, Share

    notice = Notice()
    signal.signal(signal.SIGUSR1, lambda *_: notice.give())
    hooks = Hooks(tuple(track or ()), notify)
    if trials and (track or notify != os.environ.get("TITANS_LAB_NOTIFY") or again or strict):
        raise UserError("--trials: a search has no --track, --notify, --again and --strict; leave them out")
    deadline = math.inf if until is None else time.monotonic() + until - MARGIN_SECONDS
    share = Share(math.inf if runs is None else runs, deadline, who=job_words(), notice=notice)
    options = Options(max_parallel, per_device, timeout, strict=strict, share=share)
    records, devices = open_store(store), of_nodes(chosen(usable_devices(), device), nodes)
    orphans: Sequence[tuple[Run, str]] = ()
    if trials:
        sweep, of_all = work_on_trials(study, overrides or [], records, devices, options, submission, verify), ""
    else:
        loaded, all_runs = load(study, overrides)
        launch = _prepare_share(loaded, all_runs, records, devices, options, submission, again)
        orphans = _execute(launch, verify, hooks).orphans
        sweep, of_all = launch.sweep, f" of {plural(len(all_runs), 'run')}"
    counts = Counter(sweep.ended.values())
    words = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no run"
    note(f"here: {words}; left to others: {len(sweep.left) + len(sweep.waiting)}{of_all}")
    for run, why in orphans:
        note(f"not started: {run.label}: {why}")
    if sweep.out_of_time:
        raise typer.Exit(OUT_OF_TIME)
    if sweep.broken or sweep.orphans:
        raise typer.Exit(FAILED)


def _prepare_share(
    study: Study,
    runs: list[Run],
    records: Store,
    devices: Sequence[Device],
    options: Options,
    submission: str | None,
    again: bool,
) -> Launch:
    """Return the sweep of a worker over the runs of a study."""
    from titans_lab.crew import check_unchanged
    from titans_lab.launch import ask_again, prepare

    if submission:
        check_unchanged(records, submission, [run.run_id for run in runs])
    if again:
        ask_again(runs, records, "titans-lab work --again")
    return prepare(study, runs, records, devices, options, recorded=submission is not None and not options.strict)


def _hooks(track: list[str] | None, notify: str | None, on: str) -> Hooks:
    """Return what runs beside a sweep. Raise UserError for a sweep on a cluster, whose workers have their own."""
    from titans_lab.hooks import Hooks

    if on != "local" and (track or notify != os.environ.get("TITANS_LAB_NOTIFY")):
        raise UserError(
            f"--track, --notify: are for runs of this machine, not for --on {on}; its workers read TITANS_LAB_NOTIFY"
        )
    return Hooks(tuple(track or ()), notify)


def _run(launch: Launch, verify: bool, hooks: Hooks) -> bool:
    """Run a sweep, show how it goes, draw up its report, and return whether every run has a result."""
    from titans_lab.launch import compact_if_worthwhile

    store, study = launch.sweep.store, launch.study
    ended = _execute(launch, verify, hooks)
    if launch.sweep.ended:
        summarise(study, launch.runs, store.root)
    if words := compact_if_worthwhile(store):
        note(words)
    _print_outcome(ended, len(launch.runs))
    return ended.complete


def _execute(launch: Launch, verify: bool, hooks: Hooks) -> SweepOutcome:
    """Verify what is not yet verified, then run a sweep, show how it goes, and return how it ended."""
    from titans_lab.cli.watch import watching
    from titans_lab.hooks import run
    from titans_lab.launch import orphan_warnings

    sweep = launch.sweep
    print_damage(launch.damage)
    if launch.edited:
        note(f"warning: {launch.edited}")
    for line in orphan_warnings(launch.runs, launch.waiting, sweep.store):
        note(f"warning: {line}")
    runs = plural(len(launch.runs), "run")
    note(f"{launch.study.name}: {runs}, {len(launch.waiting)} to run; store {sweep.store.root}")
    if verify:
        verify_first(launch.waiting, sweep.devices, sweep.store)
    try:
        with terminable(), watching(launch.waiting) as look:
            return run(launch, look, hooks, lambda line: note(f"warning: {line}"))
    except KeyboardInterrupt:
        end_interrupted("the same command continues from here")


def _print_outcome(ended: SweepOutcome, runs: int) -> None:
    for failure in ended.failures:
        note(f"{failure.state}: {failure.run.label}: {failure.message}\n  see {failure.log}")
    note(f"{plural(runs, 'run')}: {', '.join(f'{count} {state}' for state, count in ended.states.most_common())}")
    failed = sum(failure.state != "cancelled" for failure in ended.failures)
    if failed:
        note(f"{failed} of {plural(runs, 'run')} failed; the same command tries them again")
    if cancelled := len(ended.failures) - failed:
        note(f"cancelled: {cancelled} of {plural(runs, 'run')}; the same command continues them")
    for run, why in ended.orphans:
        note(f"not started: {run.label}: {why}")
    if ended.left:
        note(f"{ended.why}; not started: {plural(ended.left, 'run')}, which the same command starts")
