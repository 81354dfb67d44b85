"""The arms of a study, each with one colour and one mark throughout the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from titans_lab.report.data import Outcome
from titans_lab.report.subject import Subject
from titans_lab.run.comparison import ABSENT, Comparison, comparison, judged_by
from titans_lab.run.identity import model_id
from titans_lab.run.metric import Metric
from titans_lab.run.values import NAMED, endings
from titans_lab.stats.interval import Summary, summarise

#: (light, dark) pairs after Okabe & Ito: distinguishable with any colour vision, 3:1 or more against either page.
PALETTE = (
    ("#0072b2", "#5aaae6"),
    ("#d55e00", "#f28a4d"),
    ("#00875f", "#3cc79f"),
    ("#b5588e", "#e29cc6"),
    ("#a87400", "#efbc45"),
    ("#882255", "#cf6c9e"),
    ("#6b6b6b", "#a9a9a9"),
    ("#3d8fc4", "#9bd6fa"),
)
BASELINE = "baseline"  # the label of the only arm of a study without factors
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star", "hexagram", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True, eq=False)
class Arm:
    """One combination of the factors, over its seeds.

    Attributes:
        factors: The study's factors, by their short names.
        x: Index of its value of the factor on the x axis.
        group: Index of its combination of the other factors.
        colour: Index into `PALETTE`.
        mark: Index into `SYMBOLS` and `DASHES`, which distinguish arms of the same colour.
    """

    factors: dict[str, Any]
    x: int
    group: int
    colour: int
    mark: int
    outcomes: tuple[Outcome, ...]

    @property
    def label(self) -> str:
        """Return the arm's factors in words."""
        return phrase(self.factors) or BASELINE

    @property
    def model(self) -> str:
        """Return the model's id, by which benches refer to it."""
        return model_id(self.outcomes[0].run.config.model)

    @property
    def judged_by(self) -> str:
        """Return the task, data and split that the arm's scores are measured on, as text."""
        return judged_by(self.outcomes[0].run)

    @property
    def done(self) -> list[Outcome]:
        """Return the outcomes of the seeds that reached the end of training."""
        return [outcome for outcome in self.outcomes if outcome.result.state == "done"]

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Return the score of each seed that has one."""
        return {outcome.run.seed: outcome.score for outcome in self.outcomes if outcome.score is not None}

    @property
    def scores(self) -> list[float]:
        """Return the values of `by_seed`."""
        return list(self.by_seed.values())

    @cached_property
    def summary(self) -> Summary | None:
        """Return the summary of `scores`, or None where no seed has a score."""
        return summarise(self.scores) if self.scores else None

    def count(self, *states: str) -> int:
        """Return the number of seeds in one of these states."""
        return sum(outcome.result.state in states for outcome in self.outcomes)

    def measured(self, field: str) -> list[float]:
        """Return the known values of a column of the view `runs` for the done runs."""
        values = [getattr(outcome.result, field) for outcome in self.done]
        return [value for value in values if value is not None]

    def mean(self, field: str) -> float | None:
        """Return the mean of `measured`, or None without a value."""
        values = self.measured(field)
        return math.fsum(values) / len(values) if values else None


@dataclass(frozen=True)
class Factor:
    """A varied factor: its dotted key, its short name on the page, and its values in order."""

    key: str
    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Design:
    """The arms and how they are compared: one factor along x, the combinations of the others as groups."""

    x: Factor | None
    groups: tuple[str, ...]
    arms: tuple[Arm, ...]

    @cached_property
    def compared(self) -> Comparison:
        """Return the indices of the baselines, and of the pairs of an arm and its baseline."""
        return comparison([arm.outcomes[0].run for arm in self.arms])

    @property
    def base(self) -> Arm:
        """Return the study's first baseline, or else its first arm."""
        return self.arms[self.compared.bases[0]]

    @property
    def bases(self) -> list[Arm]:
        """Return the baselines: several where the study's `baseline` does not set every factor."""
        return [self.arms[place] for place in self.compared.bases] if self.arms else []

    @property
    def pairs(self) -> list[tuple[Arm, Arm]]:
        """Return each other arm with the baseline that it is compared with."""
        return [(self.arms[arm], self.arms[base]) for arm, base in self.compared.pairs] if self.arms else []


def ranked(arms: Iterable[Arm], metric: Metric) -> list[Arm]:
    """Return the arms that have a mean, the best first."""
    sign = 1 if metric.direction == "minimize" else -1
    return sorted((arm for arm in arms if arm.summary), key=lambda arm: sign * _mean(arm))


def _mean(arm: Arm) -> float:
    assert arm.summary
    return arm.summary.mean


def arrange(study: Subject, outcomes: Sequence[Outcome]) -> Design:
    """Group the runs by everything but the seed, in the order of the study."""
    names = short_names(tuple(study.factors))
    varied = [
        Factor(key, names[key], values) for key, values in _all_values(study, outcomes).items() if len(values) > 1
    ]
    x, others = (varied[0], _not_decided_by(varied[0], varied[1:], outcomes)) if varied else (None, [])
    seeds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        seeds.setdefault(repr(outcome.run.factors), []).append(outcome)
    groups = tuple(dict.fromkeys(_group(members[0], others) for members in seeds.values()))
    arms = tuple(
        _arm(members, x, groups.index(_group(members[0], others)), len(groups), names) for members in seeds.values()
    )
    return Design(x, groups, arms)


def _all_values(study: Subject, outcomes: Sequence[Outcome]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each factor, with "" among them if some arms lack the factor."""
    return {
        key: values if all(key in outcome.run.factors for outcome in outcomes) else (*values, ABSENT)
        for key, values in study.factors.items()
    }


def _not_decided_by(x: Factor, others: Sequence[Factor], outcomes: Sequence[Outcome]) -> list[Factor]:
    """Return the factors that vary independently of `x`."""

    def pairs(factor: Factor) -> set[tuple[str, str]]:
        return {(repr(_value(each, x.key)), repr(_value(each, factor.key))) for each in outcomes}

    return [factor for factor in others if len({at for at, _ in pairs(factor)}) < len(pairs(factor))]


def _arm(members: list[Outcome], x: Factor | None, group: int, groups: int, names: dict[str, str]) -> Arm:
    place = _index(x.values, _value(members[0], x.key)) if x else 0
    first, second = (group, place) if groups > 1 else (place, 0)
    return Arm(
        factors={name: _value(members[0], key) for key, name in names.items()},
        x=place,
        group=group,
        colour=first % len(PALETTE),
        mark=second + first // len(PALETTE),
        outcomes=tuple(members),
    )


def _group(outcome: Outcome, factors: Sequence[Factor]) -> str:
    return phrase({factor.name: _value(outcome, factor.key) for factor in factors})


def _value(outcome: Outcome, key: str) -> Any:
    return outcome.run.factors.get(key, ABSENT)


def _index(values: Sequence[Any], value: Any) -> int:
    """Return `values.index(value)`, with True different from 1."""
    return [(type(each), each) for each in values].index((type(value), value))


def phrase(factors: dict[str, Any]) -> str:
    """Return factors in words, such as "depth 2 · momentum off". The name of an arm or a sub-study stays as it is."""
    given = {name: value for name, value in factors.items() if value != ABSENT}
    return " · ".join(spell(value) if name in NAMED else f"{name} {spell(value)}" for name, value in given.items())


def spell(value: Any) -> str:
    """Return a factor's value as readable text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of dotted keys that still tell them apart, in words."""
    return {key: end.removeprefix("n_").replace("_", " ") for key, end in endings(keys).items()}
