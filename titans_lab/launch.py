"""Prepare a sweep and summarize it: load a study, record its runs, and say how the sweep ended."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.executors.devices import Device, cores, gpus, mirrored, torch_sees_gpus
from titans_lab.executors.local import LocalExecutor
from titans_lab.executors.slots import device_slots
from titans_lab.planning.edited import edited_since
from titans_lab.planning.history import History, read_history
from titans_lab.planning.plan import expected_seconds
from titans_lab.quantities import plural
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.store import compaction
from titans_lab.store.claims import Watch
from titans_lab.store.files import Damage
from titans_lab.store.parents import hindered
from titans_lab.store.store import Store, writing
from titans_lab.study.study import Study, load_study
from titans_lab.sweep import Share, Sweep, record_runs, record_study

START_SECONDS = 15.0  # for a worker to import torch and to read its data


@dataclass(frozen=True)
class Options:
    """The options of a sweep.

    Attributes:
        max_parallel: The most runs at a time. None: one for each device slot.
        per_device: The runs at a time on each device.
        timeout: Seconds that a run may take. None: any number.
        fail_fast: Whether the first run that fails ends the sweep.
        strict: Whether to refuse to start if other source code trained some of the finished runs.
        share: The runs that one of several workers may take. None: all.
    """

    max_parallel: int | None = None
    per_device: int = 1
    timeout: float | None = None
    fail_fast: bool = False
    strict: bool = False
    share: Share | None = None


@dataclass(frozen=True)
class Launch:
    """A sweep that is ready to run.

    Attributes:
        study: The study.
        runs: All of its runs.
        history: The store's records of these runs before the sweep.
        damage: The records of these runs that could not be read. Those that can be rewritten have been.
        edited: The number of finished runs that other source code trained, with the remedy, or "".
        waiting: The runs to execute, in any order.
        sweep: The sweep over them.
    """

    study: Study
    runs: list[Run]
    history: History
    damage: Sequence[Damage]
    edited: str
    waiting: list[Run]
    sweep: Sweep


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result.

    Attributes:
        run: The run.
        state: The state in which it ended.
        message: The last line of its error; "" where it left none.
        log: The log file, or the run's folder where there is no log.
    """

    run: Run
    state: str
    message: str
    log: Path


@dataclass(frozen=True)
class SweepOutcome:
    """The outcome of a sweep.

    Attributes:
        states: The number of the study's runs in each state.
        failures: The runs that ended without a result.
        left: The number of runs that were not started.
        why: The reason, or "" where all were started.
        orphans: The runs that could not begin because their parents have no weights, each with the reason.
    """

    states: Counter[str]
    failures: Sequence[Failure]
    left: int
    why: str
    orphans: Sequence[tuple[Run, str]] = ()

    @property
    def complete(self) -> bool:
        """Return whether every run has a result."""
        return not self.failures and not self.left and not self.orphans


def load(path: Path, overrides: Sequence[str]) -> tuple[Study, list[Run]]:
    """Return the study of a file and its runs, with their data checked. Raise UserError where something is wrong."""
    study = load_study(path, overrides)
    return study, checked_runs(study)


def checked_runs(study: Study) -> list[Run]:
    """Return the runs of a study, with their data checked. Raise UserError where the data are wrong."""
    runs = study.runs(RunConfig.data_digest)
    study.check(RunConfig.check_data)
    return runs


def data_warnings(runs: Sequence[Run]) -> list[str]:
    """Return warnings about probable mistakes in the data of runs."""
    sources = {(run.config.data, run.config.task): run.config for run in runs}.values()
    return list(dict.fromkeys(line for each in sources for line in each.task.settings.warnings(each.data)))


def usable_devices() -> tuple[list[Device], str]:
    """Return every GPU that torch can use, or else every core, and a warning where torch cannot use a GPU."""
    found = gpus()
    if not found or torch_sees_gpus():
        return found or cores(), ""
    names = ", ".join(gpu.name for gpu in found)
    return cores(), f"nvidia-smi lists {names}, but torch cannot use it (a CPU build, or an old driver?); using the CPU"


def chosen(devices: Sequence[Device], names: str | None) -> list[Device]:
    """Return the devices with these names, or all where none are given.

    Args:
        devices: The devices to choose from.
        names: Kinds, such as "cpu", or devices, such as "cuda:0,cuda:1": the first and the second of their kind.

    Raises:
        UserError: There is no such device.
    """
    if names is None:
        return list(devices)
    known: dict[str, list[Device]] = {}
    for device in devices:
        known.setdefault(device.kind, []).append(device)
        known[f"{device.kind}:{len(known[device.kind]) - 1}"] = [device]
    wanted = [name.strip() for name in names.split(",")]
    if missing := [name for name in wanted if name not in known]:
        raise UserError(f"--device: {missing[0]} is not here; there are {', '.join(known)}")
    return list(dict.fromkeys(device for name in wanted for device in known[name]))


def of_nodes(devices: Sequence[Device], names: str | None) -> list[Device]:
    """Return the devices that this process may use on the nodes of its Slurm job.

    Args:
        devices: The devices of this node.
        names: The names of all nodes of the job. None: only this one is used.

    Raises:
        UserError: This process is not on one of these nodes.
    """
    if names is None:
        return list(devices)
    here, nodes = os.environ.get("SLURMD_NODENAME", ""), names.split(",")
    if here not in nodes:
        raise UserError(
            f"--nodes {names}: this node is {here or 'of no Slurm job'}; start the worker in a Slurm job on one of them"
        )
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    own = devices[:cores] if devices[0].kind == "cpu" else devices
    return mirrored(own, [node for node in nodes if node != here])


def refuse_kernels(runs: Sequence[Run], devices: Sequence[Device]) -> None:
    """Raise UserError where a run asks for a kernel that its device does not have."""
    asked = {run.config.speed.kernel for run in runs} & {"triton", "fla"}
    if devices[0].kind == "cpu" and asked:
        raise UserError(f"speed.kernel: {max(asked)} is for a GPU, and torch can use none here; set it to auto or cpu")


def refuse_too_few(study: Study, devices: Sequence[Device]) -> None:
    """Raise UserError where a run of a study asks for more devices than there are."""

    def check(config: RunConfig) -> None:
        if config.speed.devices > len(devices):
            there = plural(len(devices), "device")
            raise UserError(
                f"speed.devices: {config.speed.devices} devices for one run, and {there} here "
                f"({', '.join(device.name for device in devices)}); set it to {len(devices)} or less, which changes no "
                "run's id, or use a machine with more"
            )

    study.check(check)


@dataclass(frozen=True)
class Recorded:
    """A study that is recorded in a store.

    Attributes:
        history: The store's records of its runs before.
        damage: The records of these runs that could not be read. Those that can be rewritten have been.
        edited: The number of finished runs that other source code trained, with the remedy, or "".
        waiting: The runs to execute.
        seconds: The predicted seconds of runs, by id, as far as they are known.
    """

    history: History
    damage: Sequence[Damage]
    edited: str
    waiting: list[Run]
    seconds: Mapping[str, float]


def record(
    study: Study,
    runs: list[Run],
    store: Store,
    device: Device | None = None,
    strict: bool = False,
    history: History | None = None,
    again: Sequence[Run] = (),
) -> Recorded:
    """Record a study and its runs in the store.

    Args:
        study: The study.
        runs: Its runs.
        store: The store, which is read once.
        device: The device whose seconds are predicted. None: it is not known.
        strict: Whether to refuse if other source code trained some of the finished runs.
        history: The store's records of the runs, if they have been read already.
        again: Runs to execute again although they may have a result.

    Raises:
        UserError: The store cannot be written, or `strict` refuses.
    """
    history = history or read_history(store)
    edited = edited_since(history.finished_envs(runs))
    if edited and strict:
        raise UserError(f"--strict: {edited}")
    ids = {run.run_id for run in runs}
    damaged = {damage: run_id for damage in history.damage if (run_id := _run_of(damage, store)) in ids}
    unsettled = {run.run_id for run in history.missing(runs)} | set(damaged.values())
    seconds = expected_seconds(runs, history, device) if device else {}
    waiting = record_runs([run for run in runs if run.run_id in unsettled], store, seconds)
    missing = {run.run_id for run in waiting}
    waiting += [run for run in again if run.run_id not in missing]
    record_study(study.record(runs), store)
    return Recorded(history, list(damaged), edited, waiting, seconds)


def prepare(
    study: Study,
    runs: list[Run],
    store: Store,
    devices: Sequence[Device],
    options: Options,
    history: History | None = None,
    again: Sequence[Run] = (),
    recorded: bool = False,
) -> Launch:
    """Record a study and its runs in the store, and return the sweep over those without a result.

    Args:
        study: The study.
        runs: Its runs.
        store: The store, which is read once.
        devices: The devices to run on.
        options: The options of the sweep.
        history: The store's records of the runs, if they have been read already.
        again: Runs to execute again although they may have a result.
        recorded: Whether a coordinator has recorded the study. Then the store is not read: the sweep looks at a run
            when its turn comes, so that hundreds of workers can begin together.

    Raises:
        UserError: A run cannot be executed on these devices, the store cannot be written, or the options are strict
            and other source code trained some of the finished runs.
    """
    refuse_kernels(runs, devices)
    refuse_too_few(study, devices)
    if recorded:
        done = Recorded(History(), [], "", list(runs), {})
    else:
        done = record(study, runs, store, devices[0], options.strict, history, again)
    watch = Watch()
    sweep = Sweep(
        store,
        LocalExecutor(watch),
        device_slots(devices, options.per_device),
        study.launch_order(done.waiting),
        budget=study.budget,
        timeout=options.timeout or math.inf,
        most=options.max_parallel,
        fail_fast=options.fail_fast,
        share=options.share and replace(options.share, needed=first_checkpoint(done.waiting, done.seconds)),
        watch=watch,
    )
    return Launch(study, runs, done.history, done.damage, done.edited, done.waiting, sweep)


def orphan_warnings(runs: Sequence[Run], missing: Sequence[Run], store: Store) -> list[str]:
    """Return a warning for each reason why runs cannot begin: their parents have no weights, and are not tried here.

    Args:
        runs: All runs of a study.
        missing: Those without a result.
        store: The store.
    """
    counts = Counter(hindered(missing, store, {run.run_id for run in missing}).values())
    return [f"{count} of {plural(len(runs), 'run')} cannot begin: {why}" for why, count in counts.items()]


def first_checkpoint(runs: Sequence[Run], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds from the start of each run to its first checkpoint, or to its end if that comes first.

    Args:
        runs: The runs.
        seconds: The predicted seconds of runs, by id, as far as they are known.
    """
    ends = {run.run_id: (run.config.log.checkpoint_seconds, seconds.get(run.run_id)) for run in runs}
    return {
        run_id: START_SECONDS + min((each for each in known if each is not None), default=0.0)
        for run_id, known in ends.items()
    }


def ask_again(runs: Sequence[Run], store: Store, why: str) -> None:
    """Ask for another attempt at those runs that failed or that somebody has stopped."""
    with writing(store):
        for run in runs:
            folder = store.run(run.run_id)
            if folder.given_up() and (latest := folder.latest()):
                latest.ask_again(why)


def archive_results(waiting: Sequence[Run], store: Store, history: History) -> None:
    """Move the results of runs that are executed again aside, within each run's folder."""
    missing = {run.run_id for run in history.missing(waiting)}
    with writing(store):
        for run in waiting:
            if run.run_id not in missing:
                store.run(run.run_id).archive()


def run(launch: Launch, look: Callable[[Sweep], bool | None]) -> SweepOutcome:
    """Execute the runs of a sweep, and return how it ended.

    Args:
        launch: The sweep.
        look: A function that is called after each turn, as `Sweep.run` calls it.
    """
    archive_results(launch.waiting, launch.sweep.store, launch.history)
    launch.sweep.run(look)
    return outcome(launch)


def _run_of(damage: Damage, store: Store) -> str:
    """Return the id of the run whose record is damaged."""
    parts = damage.path.relative_to(store.root).parts
    return parts[1] if parts[0] == "runs" else ""


def outcome(launch: Launch) -> SweepOutcome:
    """Return how a sweep ended, for all runs of its study."""
    sweep, began = launch.sweep, {run.run_id for run in launch.waiting}
    states = {
        run.run_id: sweep.state(run.run_id) if run.run_id in began else launch.history.state(run) for run in launch.runs
    }
    failures = [_failure(run, sweep.store, states[run.run_id]) for run in launch.runs if run.run_id in sweep.failed]
    why = "" if not sweep.waiting else "a run failed" if sweep.halted else "the budget is spent"
    orphans = [(run, sweep.orphans[run.run_id]) for run in launch.runs if run.run_id in sweep.orphans]
    return SweepOutcome(Counter(states.values()), failures, len(sweep.waiting), why, orphans)


def _failure(run: Run, store: Store, state: str) -> Failure:
    folder = store.run(run.run_id)
    status, latest = folder.status(), folder.latest()
    lines = (status.error or "").strip().splitlines() if status else []
    log = latest.log_path if latest and latest.log_path.exists() else folder.path
    return Failure(run, state, lines[-1] if lines else "", log)


def compact_if_worthwhile(store: Store) -> str:
    """Compact a store in which many runs are read one by one, and return a message, or "" where nothing was done.

    If the compaction fails, queries are slow but correct.
    """
    try:
        if not compaction.worthwhile(store):
            return ""
        done = compaction.compact(store)
    except OSError as error:
        return f"note: {store.root} was not compacted ({error.strerror}); queries take longer"
    return f"compacted {plural(done.runs, 'run')}, so that queries stay fast"
