"""Sweeps on a cluster: the options that say where, and what the verbs do there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import end_interrupted, note, print_damage, say
from titans_lab.errors import UserError
from titans_lab.quantities import plural

if TYPE_CHECKING:
    from titans_lab.crew import Crew
    from titans_lab.dispatch import Dispatch
    from titans_lab.executors.engine import Engine
    from titans_lab.planning.history import History
    from titans_lab.run.run import Run
    from titans_lab.store.store import Store
    from titans_lab.study.study import Study

Place = Literal["local", "slurm", "ray"]
On = Annotated[Place, typer.Option("--on", help="Where the workers run: on this machine, or as jobs of a cluster.")]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="The profile of the cluster, a table of your configuration file."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the profile, such as time=4h or workers=16."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print exactly what the cluster would be asked, and change nothing.")
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return as soon as the workers are submitted. The same command follows them.")
]


@dataclass(frozen=True)
class Ask:
    """What a command line says about a cluster.

    Attributes:
        on: The engine.
        profile: The name of the profile.
        settings: The settings that override the profile's.
        dry_run: Whether only to print what would be asked.
        detach: Whether to leave the workers alone.
        fail_fast: Whether the first run that fails ends the sweep.
        worker: The options of each worker.
    """

    on: Place
    profile: str | None = None
    settings: Sequence[str] = ()
    dry_run: bool = False
    detach: bool = False
    fail_fast: bool = False
    worker: Sequence[str] = ()

    def check(self, max_parallel: int | None) -> None:
        """Raise UserError where options contradict each other."""
        if self.on == "local" and (self.profile or self.settings or self.dry_run or self.detach):
            raise UserError("--profile, --set, --dry-run and --detach are about a cluster; give --on slurm or --on ray")
        if self.on != "local" and max_parallel is not None:
            raise UserError("--max-parallel is about this machine; give --set workers=N for the workers of a cluster")
        if self.detach and self.on == "ray":
            raise UserError("--detach: Ray ends the tasks of a process that leaves; leave it out, or use tmux or nohup")
        if self.detach and self.fail_fast:
            raise UserError("--detach leaves nobody to watch for failures; leave --fail-fast out")


def worker_options(per_device: int, timeout: float | None, verify: bool) -> list[str]:
    """Return the options of a verb that its workers get."""
    from titans_lab.plugins.consent import allows_all

    given = ["--per-device", str(per_device)] if per_device != 1 else []
    given += [f"--timeout={timeout:g}s"] if timeout is not None else []
    given += [] if verify else ["--no-verify"]
    return [*given, *(["--allow-plugins"] if allows_all() else [])]


def engine_of(ask: Ask) -> tuple[Engine, int]:
    """Return the engine that a command line asks for, and its most workers."""
    from titans_lab.executors.profiles import read_profile
    from titans_lab.executors.ray import RayEngine, RayProfile
    from titans_lab.executors.slurm import SlurmEngine, SlurmProfile

    if ask.on == "ray":
        ray = read_profile(RayProfile, ask.on, ask.profile, ask.settings)
        return RayEngine(ray), ray.workers
    slurm = read_profile(SlurmProfile, ask.on, ask.profile, ask.settings)
    return SlurmEngine(slurm), slurm.workers


def engine_named(name: str) -> Engine:
    """Return an engine, for questions about its workers. Raise UserError where this version has no such engine."""
    from titans_lab.executors.ray import RayEngine
    from titans_lab.executors.slurm import SlurmEngine

    engines: dict[str, type[Engine]] = {"slurm": SlurmEngine, "ray": RayEngine}
    if name not in engines:
        raise UserError(f"a submission is to {name!r}, which this version of titans-lab does not know")
    return engines[name]()


def checks_of(ask: Ask, store: Store) -> list[tuple[str, str, str | None]]:
    """Return what `doctor` says about a cluster: name, value and problem of each property."""
    from titans_lab.executors.profiles import read_profile
    from titans_lab.executors.ray import RayProfile, ray_checks
    from titans_lab.executors.slurm import SlurmProfile, slurm_checks

    if ask.on == "ray":
        return ray_checks(read_profile(RayProfile, ask.on, ask.profile, ask.settings))
    return list(slurm_checks(read_profile(SlurmProfile, ask.on, ask.profile, ask.settings), store.root))


def note_workers(store: Store, study: Study, runs: Sequence[Run]) -> None:
    """Print a line about each submission of a study whose workers may live, on standard error."""
    from titans_lab.dispatch import standing

    for line in standing(store, study.variant, runs, engine_named):
        note(line)


def cancel_workers(store: Store, targets: Sequence[str]) -> None:
    """End the workers on clusters of the studies among some targets."""
    from titans_lab.dispatch import cancel
    from titans_lab.selection import named_studies

    studies = {path.stem: None for target in targets for path in named_studies(store, target)}
    for study in studies:
        for name in cancel(store, study, engine_named):
            note(f"cancelled the workers of submission {name}")


def sweep_on(
    ask: Ask,
    study: Study,
    runs: list[Run],
    store: Store,
    overrides: Sequence[str],
    strict: bool = False,
    history: History | None = None,
    again: Sequence[Run] = (),
) -> bool:
    """Sweep a study by workers on a cluster, and return whether every run has a result or nobody waits for that."""
    from titans_lab.dispatch import Dispatch
    from titans_lab.launch import archive_results, ask_again, record
    from titans_lab.planning.history import read_history

    crew = crew_of(ask, study.variant, study, [run.run_id for run in runs], store, overrides)
    history = history or read_history(store)
    if ask.dry_run:
        missing = len(history.missing(runs)) + len(again)
        print_request(crew, missing)
        note(f"{study.variant}: {plural(missing, 'run')} to run; nothing was submitted")
        return True
    done = record(study, runs, store, strict=strict, history=history, again=again)
    print_damage(done.damage)
    if done.edited:
        note(f"warning: {done.edited}")
    archive_results(done.waiting, store, done.history)
    note(f"{study.name}: {plural(len(runs), 'run')}, {len(done.waiting)} to run; store {store.root}")
    dispatch = Dispatch(crew, runs, ask.fail_fast)
    if again:
        ask_again(again, store, "titans-lab rerun")
    found = dispatch.begin()
    say_begun(dispatch.crew, found)
    if ask.detach:
        return True
    return _follow(dispatch, study, done.waiting)


def crew_of(ask: Ask, name: str, study: Study, ids: Sequence[str], store: Store, overrides: Sequence[str]) -> Crew:
    """Return the workers that a command line asks for, none of which is submitted. `name` and `ids`: see `Work`."""
    from titans_lab.crew import Crew, Work

    return Crew(Work(name, Path(study.path), ids, store, overrides, ask.worker), *engine_of(ask))


def print_request(crew: Crew, wanted: int) -> None:
    """Print what the cluster would be asked for so many runs."""
    from titans_lab.store.submissions import new_name

    if wanted:
        say(crew.engine.request(crew.work.order(new_name(), min(crew.most, wanted))).rstrip("\n"))


def say_begun(crew: Crew, found: bool) -> None:
    """Say which jobs work on the study."""
    for each in crew.submissions:
        record = each.record()
        if record and not each.over():
            jobs = f"{crew.engine.name} {', '.join(record['jobs'])}" if record["jobs"] else crew.engine.name
            verb = "are submitted already" if found else "submitted"
            note(f"{plural(record['workers'], 'worker')} {verb}: {jobs}; logs {each.path}")


def _follow(dispatch: Dispatch, study: Study, waiting: Sequence[Run]) -> bool:
    from titans_lab.cli.reports import summarise
    from titans_lab.launch import compact_if_worthwhile

    try:
        with terminable():
            why = dispatch.follow(note)
    except KeyboardInterrupt:
        go_on = "the workers go on; the same command follows them, and `titans-lab cancel` ends them"
        end_interrupted(go_on if dispatch.crew.engine.detaches else "the same command continues from here")
    store, runs = dispatch.crew.work.store, list(dispatch.runs)
    if waiting:
        summarise(study, runs, store.root)
    if words := compact_if_worthwhile(store):
        note(words)
    return _say_end(dispatch, why)


def _say_end(dispatch: Dispatch, why: str) -> bool:
    """Say how a sweep ended, and return whether every run has a result."""
    from titans_lab.status import study_status
    from titans_lab.store.status import FINISHED

    rows, orphans = study_status(dispatch.runs, dispatch.crew.work.store), dispatch.orphans()
    for row in rows:
        if row["id"] in orphans:
            note(f"not started: {row['run']}: {orphans[row['id']]}")
        elif row["state"] not in FINISHED | {"pending"}:
            note(f"{row['state']}: {row['run']}: {row['error'] or 'without a message'}")
    counts = Counter(row["state"] for row in rows)
    note(f"{plural(len(rows), 'run')}: {', '.join(f'{count} {state}' for state, count in counts.most_common())}")
    if why:
        note(why)
    return counts.keys() <= FINISHED
