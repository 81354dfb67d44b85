"""The coordinator of a search: it asks, hands the runs to the workers of a sweep, and tells what became of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from titans_lab.errors import UserError
from titans_lab.executors.base import Executor
from titans_lab.executors.devices import Device
from titans_lab.planning.history import read_history
from titans_lab.search.definition import definition, search_name
from titans_lab.search.finalists import Candidate, Final, candidates, finals, finals_record, note
from titans_lab.search.judge import judge_of
from titans_lab.search.libraries import check_choices
from titans_lab.search.memory import PEAK, Forecast
from titans_lab.search.proposer import Goal
from titans_lab.search.tuning import Tuning
from titans_lab.search.warm import known_points
from titans_lab.spending import Spent
from titans_lab.store.claims import AlreadyRunning
from titans_lab.store.store import Store, writing
from titans_lab.study.config import RunConfig
from titans_lab.study.run import Run
from titans_lab.study.study import Arm, Study
from titans_lab.sweep import Sweep, record_runs

Look = Callable[["Search", Sweep], None]
VALID_EVERY = "log.valid_every"


def tunings(study: Study, store: Store, data_hash: Callable[[RunConfig], str]) -> list[Tuning]:
    """The search of each arm of a study. UserError where the study has none, or what it asks for cannot be."""
    if study.search is None:
        raise UserError(f"{study.path}: no search; say what to look for, as in search: {{space: {{train.lr: ...}}}}")
    check_choices(study.search.terms.sampler, study.search.terms.pruner)
    return [_tuning(study, arm, store, data_hash(arm.base.config)) for arm in study.search.arms]


def _tuning(study: Study, arm: Arm, store: Store, data_hash: str) -> Tuning:
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
    """UserError where a point that the study wants tried is no configuration of it."""
    for point in tuning.goal.terms.enqueue:
        place = next(iter(point.values())).place
        try:
            tuning.arm.point({key: setting.value for key, setting in point.items()})
        except UserError as error:
            raise UserError(f"{place}: search.enqueue: cannot be tried: {error}") from error


@dataclass
class Search:
    """The searches of a study's arms, side by side.

    Attributes:
        tunings: One for each arm.
        store: Where their runs are.
        executor: Starts the workers.
        devices: One worker at a time each.
        most: At most so many trials at a time; None: as many as there are devices.
        timeout: Seconds after which no trial begins; None: any.
        run_timeout: Seconds that a run may take.
        fail_fast: Whether the first run that fails ends the search.
        halted: Whether one did.
        started: When it began, by a clock that is steady.
        ended: Trials that had ended by then.
        failed: Trials and finalists' runs that have no result.
        unrun: Finalists' runs that a budget did not allow.
        finalists: Of each arm, what is run once more.
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

    def run(self, look: Look) -> None:
        """Search to the end, and then run the finalists."""
        sweep = self._sweep([], Spent())
        with self._alone():
            self._begin()
            sweep.run(lambda now: self._turn(now, look))
            self.failed = sum(t.state == "failed" for tuning in self.tunings for t in tuning.trials.values())
            self.halted = sweep.halted
            if self.tunings[0].goal.terms.finalists and not self.halted and not sweep.spent.over(sweep.budget):
                self._run_finalists(look, sweep.spent)

    def load(self) -> None:
        """Take up what the store has, and run nothing."""
        for tuning in self.tunings:
            tuning.load()
            self.finalists.append(candidates(tuning))

    @property
    def finals(self) -> list[list[Final]]:
        """What the finalists of each arm came to; empty lists before they were chosen."""
        return [finals(tuning, each) for tuning, each in zip(self.tunings, self.finalists, strict=False)]

    def _run_finalists(self, look: Look, spent: Spent) -> None:
        with writing(self.store):
            self.finalists = [candidates(tuning) for tuning in self.tunings]
            for tuning, chosen in zip(self.tunings, self.finalists, strict=True):
                note(tuning, chosen)
            self.store.save_study(finals_record(self.study.name, str(self.study.path), self.finals))
        runs = {run.run_id: run for chosen in self.finalists for each in chosen for run in each.runs}
        sweep = self._sweep(record_runs(list(runs.values()), self.store), spent)
        sweep.run(lambda now: look(self, now))
        self.failed += len(sweep.failed)
        self.unrun, self.halted = len(sweep.waiting), sweep.halted

    def _sweep(self, waiting: list[Run], spent: Spent) -> Sweep:
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
    def timed_out(self) -> bool:
        """Whether no more trials begin."""
        return self.timeout is not None and time.monotonic() - self.started > self.timeout

    @property
    def left(self) -> bool:
        """Whether something is to be done that a budget or a failure did not allow; a timeout leaves what it should."""
        over = not self.timed_out and any(tuning.active or tuning.wants_more for tuning in self.tunings)
        unchosen = self.tunings[0].goal.terms.finalists and not self.finalists
        return over or self.halted or bool(self.unrun) or bool(unchosen)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of trials so far, at most to the timeout; None before there is a rate."""
        now = sum(tuning.begun - len(tuning.active) for tuning in self.tunings)
        spent = time.monotonic() - self.started
        if now <= self.ended:
            return None
        ahead = sum(tuning.goal.terms.trials for tuning in self.tunings) - now
        left = spent / (now - self.ended) * max(0, ahead)
        return left if self.timeout is None else max(0.0, min(left, self.timeout - spent))

    def _begin(self) -> None:
        terms = self.tunings[0].goal.terms
        warm = terms.warm_start if terms.warm_start is not None else len(self.tunings) == 1
        for limit in terms.constraints:
            if limit.name == PEAK:
                forecast = Forecast(read_history(self.store), self.devices[0], limit)
                for tuning in self.tunings:
                    tuning.forecast = forecast
        with writing(self.store):
            for tuning in self.tunings:
                tuning.begin(known_points(tuning) if warm else ())
        self.ended = sum(tuning.begun - len(tuning.active) for tuning in self.tunings)

    def _turn(self, sweep: Sweep, look: Look) -> bool:
        """Whether there is more to come."""
        self._hand_over(sweep)
        over = sweep.spent.over(sweep.budget) or sweep.halted or self.timed_out
        while not over and (tuning := self._next()):
            tuning.ask()
        self._hand_over(sweep)
        look(self, sweep)
        return any(tuning.active or (tuning.wants_more and not over) for tuning in self.tunings)

    def _hand_over(self, sweep: Sweep) -> None:
        """Tell what became of runs, and give the sweep those that are to be started."""
        wanted = {run.run_id: run for tuning in self.tunings for run in tuning.look(sweep)}
        sweep.waiting += record_runs(list(wanted.values()), self.store)

    def _next(self) -> Tuning | None:
        """The arm that is to begin a trial: the one that has begun the fewest; None where no device is free."""
        if sum(len(tuning.active) for tuning in self.tunings) >= min(self.most or len(self.devices), len(self.devices)):
            return None
        return min((each for each in self.tunings if each.wants_more), key=lambda each: each.begun, default=None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """UserError where another process is at one of these searches."""
        with ExitStack() as claims:
            for tuning in self.tunings:
                with writing(self.store):
                    tuning.folder.create(tuning.what)
                try:
                    claims.enter_context(tuning.folder.alone())
                except AlreadyRunning:
                    message = "another process is at this search; wait for its end, or end that process"
                    raise UserError(f"{tuning.folder.path}: {message}") from None
            yield
