"""Predict a cost from earlier costs: from runs of the same shape where there are some, else by a power law.

log(cost) = offset of the group + slope * log(work), by least squares. The interval is that of a new observation (Draper
& Smith 1998, Applied Regression Analysis, section 3.1). Where the same shape was seen before, the mean of its costs
replaces the law, with the spread between repetitions of a shape. The law is fitted to shapes, with one point for each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from titans_lab.stats.interval import LEVEL

OWN_OFFSET = 3  # the shapes that a group needs for an offset of its own
SPREAD = 0.2  # the standard deviation of log(work) that a fitted slope needs; below it, and with two shapes, it is 1
SLOPES = (0.0, 1.5)  # plausible slopes: costs neither fall with the work nor outgrow it by much
WIDEST = math.log(10.0)  # an interval that reaches further to either side is left out


@dataclass(frozen=True)
class Example:
    """A measured cost.

    Attributes:
        work: The variable that the cost should be a power of, above 0.
        cost: The cost, above 0.
        group: The group. Costs of two groups differ by a constant factor.
        shape: The shape. Costs of one shape differ only by chance.
    """

    work: float
    cost: float
    group: Hashable
    shape: Hashable


@dataclass(frozen=True)
class Estimate:
    """A predicted cost with its 95 % prediction interval.

    Attributes:
        value: The middle of the interval on a logarithmic scale.
        low: The lower end; None, as is the upper end, where the examples are too few or too far away to tell.
        high: The upper end.
        examples: The number of runs of the same shape that it is based on, or of shapes that the law was fitted to.
        same_shape: Whether it is based on runs of the same shape.
    """

    value: float
    low: float | None
    high: float | None
    examples: int
    same_shape: bool = False

    def times(self, factor: float) -> Estimate:
        """Return the estimate of `factor` times as much."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return replace(self, value=self.value * factor, low=low, high=high)


@dataclass(frozen=True)
class _Fit:
    """The coefficients of a law, with what the interval of a prediction needs."""

    coefficients: np.ndarray
    covariance: np.ndarray  # over the residual variance
    variance: float
    freedom: int
    slope: float | None  # None: it is the last of the coefficients

    def at(self, row: np.ndarray, log_work: float) -> Estimate:
        given = np.append(row, log_work) if self.slope is None else row
        middle = float(given @ self.coefficients) + (self.slope or 0.0) * log_work
        spread = self.variance * (1 + float(given @ self.covariance @ given))
        return _estimate(middle, spread, self.freedom, self.freedom + len(self.coefficients))


class CostLaw:
    """A power law that is fitted to examples."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.shapes: dict[Hashable, list[float]] = defaultdict(list)
        for each in examples:
            self.shapes[each.shape].append(math.log(each.cost))
        distinct = {each.shape: each for each in examples}  # the law misses all runs of a shape alike
        self.work = np.log([each.work for each in distinct.values()])
        self.cost = np.array([np.mean(self.shapes[shape]) for shape in distinct])
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, each in enumerate(distinct.values()):
            members[each.group].append(index)
        own = [group for group, places in members.items() if len(places) >= OWN_OFFSET]
        self.offsets = {group: column for column, group in enumerate(own)}
        self.together = self._fit(np.ones((len(distinct), 1)), slice(None)) if examples else None
        self.apart = self._fit_apart(members) if own else None
        self.repeated = _pooled(self.shapes.values())

    def estimate(self, work: float, group: Hashable, shape: Hashable) -> Estimate | None:
        """Return the cost of one more run, or None without any example."""
        if seen := self.shapes.get(shape, ()):
            variance, freedom = self.repeated
            known = _estimate(float(np.mean(seen)), variance * (1 + 1 / len(seen)), freedom, len(seen))
            return replace(known, same_shape=True)
        if self.apart and group in self.offsets:
            return self.apart.at(np.eye(len(self.offsets))[self.offsets[group]], float(np.log(work)))
        return self.together.at(np.ones(1), float(np.log(work))) if self.together else None

    def _fit_apart(self, members: dict[Hashable, list[int]]) -> _Fit:
        """Fit the law with an offset for each group that has enough examples."""
        places = [(place, column) for group, column in self.offsets.items() for place in members[group]]
        rows = np.zeros((len(places), len(self.offsets)))
        rows[np.arange(len(places)), [column for _, column in places]] = 1
        return self._fit(rows, np.array([place for place, _ in places]))

    def _fit(self, rows: np.ndarray, which: np.ndarray | slice) -> _Fit:
        """Fit the law with a slope where the shapes tell one, and with a slope of 1 where they do not."""
        work, cost = self.work[which], self.cost[which]
        within = work - rows @ np.linalg.lstsq(rows, work, rcond=None)[0]
        if len(cost) <= rows.shape[1] + 1 or float(np.sqrt(np.mean(within**2))) < SPREAD:
            return _least_squares(rows, cost - work, slope=1.0)
        fit = _least_squares(np.column_stack([rows, work]), cost, slope=None)
        possible = min(max(float(fit.coefficients[-1]), SLOPES[0]), SLOPES[1])
        if possible == fit.coefficients[-1]:
            return fit
        return _least_squares(rows, cost - possible * work, possible)


def _least_squares(design: np.ndarray, target: np.ndarray, slope: float | None) -> _Fit:
    covariance = np.linalg.pinv(design.T @ design)
    coefficients = covariance @ design.T @ target
    freedom = len(target) - design.shape[1]
    left = float(np.sum((target - design @ coefficients) ** 2))
    return _Fit(coefficients, covariance, left / freedom if freedom else 0.0, freedom, slope)


def _pooled(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the variance within groups and its degrees of freedom."""
    several = [np.asarray(each) for each in groups if len(each) > 1]
    freedom = sum(len(each) - 1 for each in several)
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in several)
    return (squares / freedom if freedom else 0.0), freedom


def _estimate(middle: float, variance: float, freedom: int, examples: int) -> Estimate:
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * variance**0.5 if freedom else math.inf
    value = math.exp(min(middle, 700.0))
    if reach > WIDEST:
        return Estimate(value, None, None, examples)
    return Estimate(value, value / math.exp(reach), value * math.exp(reach), examples)
