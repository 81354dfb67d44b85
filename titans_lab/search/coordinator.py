"""The coordinator of a search: it asks for trials, hands their runs to a sweep, and reports how they ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from titans_lab.crew import Crew
from titans_lab.errors import UserError
from titans_lab.executors.base import Executor
from titans_lab.executors.devices import Device
from titans_lab.executors.local import LocalExecutor
from titans_lab.executors.slots import device_slots
from titans_lab.launch import Options
from titans_lab.planning.history import read_history
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.search.definition import definition, search_name
from titans_lab.search.finalists import Candidate, FinalResult, candidates, finals, finals_record, note, tuned_record
from titans_lab.search.judge import judge_of
from titans_lab.search.libraries import check_choices
from titans_lab.search.memory import PEAK, Forecast
from titans_lab.search.proposer import Goal, export
from titans_lab.search.remote import Remote, Tell
from titans_lab.search.runner import Runner
from titans_lab.search.tuning import Tuning
from titans_lab.search.warm import known_points
from titans_lab.spending import Spent
from titans_lab.store.claims import AlreadyRunning
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store, writing
from titans_lab.study.study import SearchArm, Study
from titans_lab.sweep import Sweep, record_runs

Look = Callable[["Coordinator", Runner], None]
VALID_EVERY = "log.valid_every"


def coordinator_of(study: Study, store: Store, devices: Sequence[Device], options: Options) -> Coordinator:
    """Return the coordinator of a study's search, which has not begun.

    Args:
        study: The study.
        store: The store.
        devices: The devices to run on.
        options: The options of the sweep.

    Raises:
        UserError: The study has no search, asks for what cannot be, or its data cannot be used.
    """
    found = checked_tunings(study, store)
    return Coordinator(
        study,
        found,
        store,
        LocalExecutor(),
        device_slots(devices, options.per_device),
        options.max_parallel,
        timeout=found[0].goal.terms.timeout,
        run_timeout=options.timeout or math.inf,
        fail_fast=options.fail_fast,
    )


def remote_coordinator_of(
    study: Study, found: Sequence[Tuning], crew: Crew, options: Options, tell: Tell
) -> Coordinator:
    """Return the coordinator of a study's search whose runs workers on a cluster train. It has not begun.

    Args:
        study: The study.
        found: The search of each arm: see `tunings`.
        crew: The workers.
        options: The options of the sweep.
        tell: A function that gets a line when the workers' states have changed.
    """
    terms = found[0].goal.terms
    return Coordinator(
        study,
        found,
        crew.work.store,
        LocalExecutor(),
        [],
        options.max_parallel,
        timeout=terms.timeout,
        fail_fast=options.fail_fast,
        crew=crew,
        tell=tell,
    )


def tunings(study: Study, store: Store, data_hash: Callable[[RunConfig], str]) -> list[Tuning]:
    """Return the search of each arm of a study. UserError where there is none, or where it asks for what cannot be."""
    if study.search is None:
        raise UserError(f"{study.path}: no search; say what to look for, as in search: {{space: {{train.lr: ...}}}}")
    check_choices(study.search.terms.sampler, study.search.terms.pruner)
    return [_tuning(study, arm, store, data_hash(arm.base.config)) for arm in study.search.arms]


def checked_tunings(study: Study, store: Store) -> list[Tuning]:
    """Return the search of each arm of a study, whose data are checked. Raise UserError where something is wrong."""
    found = tunings(study, store, RunConfig.data_digest)
    for each in found:
        each.arm.base.config.check_data()
    return found


def _tuning(study: Study, arm: SearchArm, store: Store, data_hash: str) -> Tuning:
    assert study.search is not None
    terms = study.search.terms
    judge = judge_of(terms, arm.metrics)
    what = definition(study.name, arm, judge, arm.base.config, data_hash)
    directions = tuple(metric.direction for metric in judge.metrics)
    goal = Goal(search_name(what), terms, directions, arm.lookup)
    folder = store.search(goal.name)
    tuning = Tuning(arm, goal, judge, data_hash, VALID_EVERY in study.base, store, folder, what)
    judge.logged(arm.base.config, tuning.validates)
    _check_enqueued(tuning)
    return tuning


def _check_enqueued(tuning: Tuning) -> None:
    """Raise UserError where a point that `search.enqueue` names is no configuration of the study."""
    for point in tuning.goal.terms.enqueue:
        place = next(iter(point.values())).place
        try:
            tuning.arm.point({key: setting.value for key, setting in point.items()})
        except UserError as error:
            raise UserError(f"{place}: search.enqueue: cannot be tried: {error}") from error


@dataclass
class Coordinator:
    """The searches of a study's arms, which share the devices.

    Attributes:
        study: The study.
        tunings: The search of each arm.
        store: The store with their runs.
        executor: The executor that starts the workers of this machine.
        devices: The device slots of this machine, with one worker at a time each.
        most: The most trials at a time. None: one for each device slot, or for each worker on a cluster.
        timeout: Seconds after which no trial starts. None: trials may start at any time.
        run_timeout: Seconds that a run may take.
        fail_fast: Whether the first run that fails ends the search.
        halted: Whether a failed run has ended the search.
        started: The start of the search, by a monotonic clock.
        ended: The number of trials that had ended before.
        failed: The number of trials and finalists' runs without a result.
        unrun: The number of finalists' runs that the budget did not allow.
        finalists: The candidates of each arm that run with fresh seeds.
        crew: The workers on a cluster that train the runs. None: this machine trains them.
        tell: A function that gets a line when the states of these workers have changed.
        why: The reason why a failure has ended the search, or "".
    """

    study: Study
    tunings: Sequence[Tuning]
    store: Store
    executor: Executor
    devices: Sequence[Device]
    most: int | None = None
    timeout: float | None = None
    run_timeout: float = math.inf
    fail_fast: bool = False
    halted: bool = False
    started: float = field(default_factory=time.monotonic)
    ended: int = 0
    failed: int = 0
    unrun: int = 0
    finalists: list[list[Candidate]] = field(default_factory=list)
    crew: Crew | None = None
    tell: Tell = print
    why: str = ""

    def run(self, look: Look) -> None:
        """Search to the end, and then run the finalists. `look` is called after each turn."""
        with self._alone():
            if self.crew:
                self.crew.find()
            self._search(look)
            if self.crew:
                self.crew.cancel()  # they wait for more trials

    def _search(self, look: Look) -> None:
        sweep = self._runner([], Spent())
        self._begin()
        sweep.run(lambda now: self._turn(now, look))
        self.failed = sum(t.state == "failed" for tuning in self.tunings for t in tuning.trials.values())
        self.halted, self.why = sweep.halted, sweep.why
        if self.tunings[0].goal.terms.finalists and not self.halted and not sweep.spent.over(sweep.budget):
            self._run_finalists(look, sweep.spent)

    def load(self) -> None:
        """Load the trials that the store has, and run nothing."""
        for tuning in self.tunings:
            tuning.load()
            self.finalists.append(candidates(tuning))

    @cached_property
    def known(self) -> list[list[tuple[dict[str, Any], list[Run]]]]:
        """Return for each arm the points that begin with runs of the store, and these runs."""
        terms = self.tunings[0].goal.terms
        warm = terms.warm_start if terms.warm_start is not None else len(self.tunings) == 1
        return [list(known_points(tuning)) if warm else [] for tuning in self.tunings]

    def finished_envs(self) -> list[Mapping[str, Any]]:
        """Return host and versions of each finished run that the search takes results from."""
        ids = {run_id for tuning in self.tunings for run_id in tuning.recorded_runs()}
        ids |= {run.run_id for points in self.known for _, runs in points for run in runs}
        found = [self.store.run(run_id).status() for run_id in sorted(ids)]
        return [status.env for status in found if status and status.state in FINISHED]

    def export(self, path: Path) -> None:
        """Write the searches as Optuna's SQLite file."""
        export([(tuning.goal, list(tuning.trials.values())) for tuning in self.tunings], path)

    @property
    def finals(self) -> list[list[FinalResult]]:
        """Return the results of each arm's finalists; empty before they are chosen."""
        return [finals(tuning, each) for tuning, each in zip(self.tunings, self.finalists, strict=False)]

    def _run_finalists(self, look: Look, spent: Spent) -> None:
        with writing(self.store):
            self.finalists = [candidates(tuning) for tuning in self.tunings]
            for tuning, chosen in zip(self.tunings, self.finalists, strict=True):
                note(tuning, chosen)
            self.store.save_study(finals_record(self.study.name, str(self.study.path), self.finals))
            if len(self.tunings) > 1:
                self.store.save_study(tuned_record(self.study, self.tunings, self.finalists))
        runs = {run.run_id: run for chosen in self.finalists for each in chosen for run in each.runs}
        sweep = self._runner(record_runs(list(runs.values()), self.store), spent)
        sweep.run(lambda now: look(self, now))
        self.failed += len(sweep.failed)
        self.unrun, self.halted, self.why = len(sweep.waiting), sweep.halted, sweep.why

    def _runner(self, waiting: list[Run], spent: Spent) -> Runner:
        """Return what trains runs, some of which are known already."""
        if self.crew:
            return Remote(
                self.crew, waiting, self.at_once, self.tell, self.study.budget, spent, fail_fast=self.fail_fast
            )
        return Sweep(
            self.store,
            self.executor,
            self.devices,
            waiting,
            budget=self.study.budget,
            timeout=self.run_timeout,
            most=self.most,
            fail_fast=self.fail_fast,
            spent=spent,
        )

    @property
    def at_once(self) -> int:
        """Return the most trials at a time."""
        if self.crew:
            return self.most or self.crew.most
        places = len(self.devices) // max(tuning.arm.base.config.speed.devices for tuning in self.tunings)
        return min(self.most or places, places)

    @property
    def timed_out(self) -> bool:
        """Return whether the time is over in which trials may start."""
        return self.timeout is not None and time.monotonic() - self.started > self.timeout

    @property
    def left(self) -> bool:
        """Return whether a budget or a failure has left something to do. What a timeout leaves does not count."""
        over = not self.timed_out and any(tuning.active or tuning.wants_more for tuning in self.tunings)
        unchosen = self.tunings[0].goal.terms.finalists and not self.finalists
        return over or self.halted or bool(self.unrun) or bool(unchosen)

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds left at the rate of trials so far, up to the timeout; None before there is a rate."""
        now = sum(tuning.begun - len(tuning.active) for tuning in self.tunings)
        spent = time.monotonic() - self.started
        if now <= self.ended:
            return None
        ahead = sum(tuning.goal.terms.trials for tuning in self.tunings) - now
        left = spent / (now - self.ended) * max(0, ahead)
        return left if self.timeout is None else max(0.0, min(left, self.timeout - spent))

    def _begin(self) -> None:
        for limit in self.tunings[0].goal.terms.constraints:
            if limit.name == PEAK and self.devices:  # of a cluster's devices nothing is known
                forecast = Forecast(read_history(self.store).finished, self.devices[0], limit)
                for tuning in self.tunings:
                    tuning.forecast = forecast
        with writing(self.store):
            for tuning, known in zip(self.tunings, self.known, strict=True):
                tuning.begin(known)
        self.ended = sum(tuning.begun - len(tuning.active) for tuning in self.tunings)

    def _turn(self, sweep: Runner, look: Look) -> bool:
        """Do what has become possible, and return whether more runs may follow."""
        self._hand_over(sweep)
        over = sweep.spent.over(sweep.budget) or sweep.halted or self.timed_out
        while not over and (tuning := self._next()):
            tuning.ask()
        self._hand_over(sweep)
        look(self, sweep)
        return any(tuning.active or (tuning.wants_more and not over) for tuning in self.tunings)

    def _hand_over(self, sweep: Runner) -> None:
        """Report ended runs to their trials, and give the sweep the runs to start."""
        wanted = {run.run_id: run for tuning in self.tunings for run in tuning.look(sweep)}
        sweep.waiting += record_runs(list(wanted.values()), self.store)

    def _next(self) -> Tuning | None:
        """Return the arm that starts the next trial: the one with the fewest, or None where no device slot is free."""
        if sum(len(tuning.active) for tuning in self.tunings) >= self.at_once:
            return None
        return min((each for each in self.tunings if each.wants_more), key=lambda each: each.begun, default=None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Claim the searches. Raise UserError where another process has one of them."""
        with ExitStack() as claims:
            for tuning in self.tunings:
                with writing(self.store):
                    tuning.folder.create(tuning.what)
                try:
                    claims.enter_context(tuning.folder.alone())
                except AlreadyRunning:
                    message = "another process runs this search; wait for its end, or end that process"
                    raise UserError(f"{tuning.folder.path}: {message}") from None
            yield
