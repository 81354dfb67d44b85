"""Optuna's study of one search. It is kept in memory and rebuilt from the trials in the store."""

from __future__ import annotations

import itertools
import re
import sqlite3
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from titans_lab.output import write_output
from titans_lab.search.libraries import (
    DESIGNS,
    SEES_STOPPED,
    base_seed,
    design,
    distribution,
    make_pruner,
    make_sampler,
    seed_of,
)
from titans_lab.search.trial import Trial
from titans_lab.study.terms import Dimension, SearchTerms

DIRECTIONS = {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}
NUMBERLESS = ("diverged", "oom", "infeasible")
#: The attributes of a trial in Optuna that are kept: no pickles, and nothing that only a running trial needs.
KEPT = re.compile(r"(?:completed_rung_|NSGAIISampler:)\w+", re.ASCII)
UNKNOWN = 1.0  # the violation of a bound whose figure was not measured


@dataclass(frozen=True)
class Goal:
    """The space, the objectives, the sampler and the pruner of a search.

    Attributes:
        name: The name of the search.
        terms: The block `search` of the study.
        directions: "minimize" or "maximize" for each objective.
        lookup: Returns the value of a key that the search does not set, for conditions.
    """

    name: str
    terms: SearchTerms
    directions: tuple[str, ...]
    lookup: Callable[[str], Any]

    @property
    def conditional(self) -> bool:
        """Return whether some parameters exist only under the values of others."""
        return any(dimension.when for dimension in self.terms.space)

    def active(self, values: Mapping[str, Any]) -> Iterator[Dimension]:
        """Yield the parameters that exist, while the caller fills `values` in the same order."""
        for dimension in self.terms.space:
            if dimension.exists(lambda name: values[name] if name in values else self.lookup(name)):
                yield dimension

    def point_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return values by dotted key, of which there may be more, as a point of the space; None where it has none."""
        point: dict[str, Any] = {}
        for dimension in self.active(values):
            value = values.get(dimension.key)
            if not dimension.has(value):
                return None
            point[dimension.key] = value
        return point

    def chosen(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a point whose parameters exist."""
        values: dict[str, Any] = {}
        for dimension in self.active(values):
            if dimension.key in point:
                values[dimension.key] = point[dimension.key]
        return values


class Proposer:
    """Asks Optuna for points and tells it how they ended."""

    def __init__(self, goal: Goal, trials: Sequence[Trial] = ()) -> None:
        """Create the study, with the trials of an earlier coordinator."""
        self.goal, self.sampler = goal, goal.terms.sampler
        self.seed = base_seed(self.sampler, goal.name)
        self.study = optuna.create_study(
            study_name=goal.name,
            directions=[DIRECTIONS[direction] for direction in goal.directions],
            sampler=RandomSampler(seed=0),  # each trial gets a sampler of its own
            pruner=make_pruner(goal.terms.pruner),
        )
        self.running: dict[int, optuna.Trial] = {}  # by this search's number of the trial
        self.places: dict[int, int] = {}  # from this search's number to Optuna's
        self.points = fresh_points(goal, self.seed, trials) if self.sampler.name in DESIGNS else None
        for trial in trials:
            self._remember(trial)

    def ask(self, number: int, wanted: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the values of the next point by key, or None where a grid is at its end.

        Args:
            number: The number of the trial.
            wanted: Values that are given. The others are drawn.
        """
        if wanted is None and self.points is not None:
            wanted = next(self.points, None)
            if wanted is None:
                return None
        return self._begin(number, wanted)

    def report(self, number: int, step: int, value: float) -> bool:
        """Tell the pruner a value, and return whether it prunes the trial."""
        trial = self.running[number]
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, trial: Trial) -> Trial:
        """Tell Optuna how a trial ended, and return the trial with the attributes that Optuna keeps with it.

        TPE ranks pruned trials among themselves by how far they came, and trials that violate a bound below them. So a
        trial without a value is told as a pruned one that violates a bound of its own. Other samplers see trials with
        values alone. They are told values worse than all so far, so that the point is not proposed again.
        """
        if trial.state in NUMBERLESS and self.sampler.name not in SEES_STOPPED:
            trial = replace(trial, told=self._penalty())
        asked = self.running.pop(trial.number)
        for name, excess in self._constraints(trial).items():
            asked.set_constraint(name, excess)
        state, values = told(trial)
        self.study.tell(asked, values, state)
        kept = self.study.get_trials(deepcopy=False)[self.places[trial.number]].system_attrs
        return replace(trial, attributes={key: value for key, value in kept.items() if KEPT.fullmatch(key)})

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Return a trial that has ended, as Optuna keeps it."""
        state, values = told(trial)
        if state == TrialState.PRUNED and trial.reports:
            values = (trial.reports[max(trial.reports)],)
        space = {dimension.key: dimension for dimension in self.goal.terms.space}
        return optuna.trial.create_trial(
            state=state,
            values=list(values) if values else None,
            params=dict(trial.params),
            distributions={key: distribution(space[key]) for key in trial.params},
            intermediate_values=dict(trial.reports),
            system_attrs=dict(trial.attributes),
            user_attrs={"state": trial.state, "runs": list(trial.runs), "why": trial.why, "number": trial.number},
            constraints=self._constraints(trial) or None,
        )

    def _remember(self, trial: Trial) -> None:
        """Add a trial of an earlier coordinator."""
        if trial.running or (self.sampler.name == "cmaes" and trial.origin != "store"):
            self._begin(trial.number, trial.params)  # CMA-ES builds its state while it is asked
            for step, value in trial.reports.items():
                self.running[trial.number].report(value, step)
            if not trial.running:
                self.tell(trial)
            return
        self.places[trial.number] = len(self.study.get_trials(deepcopy=False))
        self.study.add_trial(self.frozen(trial))

    def _begin(self, number: int, wanted: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask Optuna for a trial, some of whose values may be given."""
        self.study.sampler = make_sampler(self.sampler, seed_of(self.seed, number), self.goal.conditional)
        if wanted is not None:
            self.study.enqueue_trial(dict(wanted))
        values: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask()
            for dimension in self.goal.active(values):
                values[dimension.key] = dimension.rounded(suggest(trial, dimension))
        self.running[number], self.places[number] = trial, trial.number
        return values

    def _penalty(self) -> tuple[float, ...] | None:
        """Return values as far beyond the worst of each objective as that is from the best; None before any."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        columns = list(zip(*(trial.values for trial in done), strict=True))
        ways = zip(self.goal.directions, columns, strict=False)
        return tuple(2 * max(c) - min(c) if way == "minimize" else 2 * min(c) - max(c) for way, c in ways) or None

    def _constraints(self, trial: Trial) -> dict[str, float]:
        """Return by how much each bound is violated. A trial without a value violates a bound of its own."""
        if trial.state == "failed":
            return {}
        found = {limit.name: trial.limits.get(limit.name, UNKNOWN) for limit in self.goal.terms.constraints}
        own = trial.state in NUMBERLESS and self.sampler.name in SEES_STOPPED
        return found | ({"no number": UNKNOWN} if own else {})


def told(trial: Trial) -> tuple[TrialState, Sequence[float] | None]:
    """Return the state and the values that are reported to Optuna."""
    if trial.state == "done":
        return TrialState.COMPLETE, trial.values
    if trial.state == "failed":
        return TrialState.FAIL, None
    return (TrialState.COMPLETE, trial.told) if trial.told else (TrialState.PRUNED, None)


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Ask Optuna for a value of a parameter."""
    if dimension.kind == "choice":
        return trial.suggest_categorical(dimension.key, dimension.choices)
    if dimension.kind == "int":
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return trial.suggest_int(dimension.key, low, high, log=dimension.log, step=step)
    return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def fresh_points(goal: Goal, seed: int, trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """Yield the points of a design that no trial had: each point of a grid once, the others in their order."""
    points = design(goal.terms.sampler, goal.terms.space, seed)
    if goal.terms.sampler.name != "grid":
        begun = sum(trial.origin == "sampler" for trial in trials)
        yield from itertools.islice(points, begun, None)
        return
    had = [dict(trial.params) for trial in trials]
    for point in map(goal.chosen, points):
        if point not in had:
            had.append(point)
            yield point


def _with_times(proposer: Proposer, trials: Iterable[Trial]) -> list[FrozenTrial]:
    """Return the trials as Optuna keeps them, each with the times at which it was asked for and told."""
    kept = proposer.study.get_trials(deepcopy=True)
    for trial in trials:
        frozen = kept[proposer.places[trial.number]]
        frozen.datetime_start = _local(trial.started) or frozen.datetime_start
        frozen.datetime_complete = _local(trial.ended) or frozen.datetime_complete
    return kept


def _local(time: str | None) -> datetime | None:
    """Return an ISO time in UTC as Optuna writes times: local and without a zone."""
    return datetime.fromisoformat(time).astimezone().replace(tzinfo=None) if time else None


def ended_trials(goal: Goal, trials: Sequence[Trial], numbers: Collection[int]) -> list[FrozenTrial]:
    """Return some trials of a search as Optuna keeps them, in the order of their numbers."""
    proposer = Proposer(goal, trials)
    kept = _with_times(proposer, trials)
    return [kept[proposer.places[number]] for number in sorted(numbers)]


def new_study(goal: Goal, storage: BaseStorage) -> optuna.Study:
    """Return Optuna's study of a search, without trials, in a storage."""
    directions = [DIRECTIONS[direction] for direction in goal.directions]
    return optuna.create_study(storage=storage, study_name=goal.name, directions=directions)


def export(searches: Iterable[tuple[Goal, Sequence[Trial]]], path: Path) -> None:
    """Write searches as Optuna's SQLite file, which optuna-dashboard opens, and replace the file that was there."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: database})
        for goal, trials in searches:
            new_study(goal, storage).add_trials(_with_times(Proposer(goal, trials), trials))
        write_output(path, database.serialize())
