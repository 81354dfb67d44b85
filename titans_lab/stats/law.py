"""What something will cost, from what the like of it has cost: a power law with offsets, and its prediction interval.

log(cost) = offset of the group + slope * log(work), by least squares; the interval is that of a new observation (Draper
& Smith 1998, Applied Regression Analysis, section 3.1). Where the very shape was seen before, its own mean stands in
for the law, with the spread that repetitions of one shape have. The law itself is fitted to shapes, a point each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from titans_lab.stats.interval import LEVEL

OWN_OFFSET = 3  # shapes of a group from which it has one
SPREAD = 0.2  # of log(work), below which shapes say nothing of a slope, as two of them never do: it is 1


@dataclass(frozen=True)
class Example:
    """A cost that was seen.

    Attributes:
        work: What it should follow, > 0.
        cost: Above 0.
        group: Of things that differ from others by a factor.
        shape: Equal for things whose costs differ by chance alone.
    """

    work: float
    cost: float
    group: Hashable
    shape: Hashable


@dataclass(frozen=True)
class Estimate:
    """A cost to come, with its 95 % prediction interval.

    Attributes:
        value: The middle one.
        low: Lower end; None where the examples are too few to tell, as is the upper end.
        high: Upper end.
        examples: That it rests on: of the very shape, or the shapes of the law.
    """

    value: float
    low: float | None
    high: float | None
    examples: int

    def times(self, factor: float) -> Estimate:
        """Of so many times as much."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high, self.examples)


@dataclass(frozen=True)
class _Fit:
    """Coefficients, with what the interval of a prediction needs."""

    coefficients: np.ndarray
    covariance: np.ndarray  # over the residual variance
    variance: float
    freedom: int
    sloped: bool

    def at(self, row: np.ndarray, log_work: float) -> Estimate:
        given = np.append(row, log_work) if self.sloped else row
        middle = float(given @ self.coefficients) + (0.0 if self.sloped else log_work)
        spread = self.variance * (1 + float(given @ self.covariance @ given))
        return _estimate(middle, spread, self.freedom, self.freedom + len(self.coefficients))


class Law:
    """Fitted to examples."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.shapes: dict[Hashable, list[float]] = defaultdict(list)
        for each in examples:
            self.shapes[each.shape].append(math.log(each.cost))
        distinct = {each.shape: each for each in examples}  # what a shape's runs share, the law misses alike for all
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
        """Of one more; None without any example."""
        seen = self.shapes.get(shape, ())
        if seen and self.repeated[1]:
            variance, freedom = self.repeated
            return _estimate(float(np.mean(seen)), variance * (1 + 1 / len(seen)), freedom, len(seen))
        if self.apart and group in self.offsets:
            return self.apart.at(np.eye(len(self.offsets))[self.offsets[group]], float(np.log(work)))
        return self.together.at(np.ones(1), float(np.log(work))) if self.together else None

    def _fit_apart(self, members: dict[Hashable, list[int]]) -> _Fit:
        """With an offset for each group that has examples enough."""
        places = [(place, column) for group, column in self.offsets.items() for place in members[group]]
        rows = np.zeros((len(places), len(self.offsets)))
        rows[np.arange(len(places)), [column for _, column in places]] = 1
        return self._fit(rows, np.array([place for place, _ in places]))

    def _fit(self, rows: np.ndarray, which: np.ndarray | slice) -> _Fit:
        work, cost = self.work[which], self.cost[which]
        within = work - rows @ np.linalg.lstsq(rows, work, rcond=None)[0]
        sloped = len(cost) > rows.shape[1] + 1 and float(np.sqrt(np.mean(within**2))) >= SPREAD
        design = np.column_stack([rows, work]) if sloped else rows
        target = cost if sloped else cost - work
        covariance = np.linalg.pinv(design.T @ design)
        coefficients = covariance @ design.T @ target
        freedom = len(cost) - design.shape[1]
        left = float(np.sum((target - design @ coefficients) ** 2))
        return _Fit(coefficients, covariance, left / freedom if freedom else 0.0, freedom, sloped)


def _pooled(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Variance within groups, and its degrees of freedom."""
    several = [np.asarray(each) for each in groups if len(each) > 1]
    freedom = sum(len(each) - 1 for each in several)
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in several)
    return (squares / freedom if freedom else 0.0), freedom


def _estimate(middle: float, variance: float, freedom: int, examples: int) -> Estimate:
    if not freedom:
        return Estimate(float(np.exp(middle)), None, None, examples)
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * variance**0.5
    ends = np.exp(np.clip([middle - reach, middle, middle + reach], -700, 700))
    return Estimate(float(ends[1]), float(ends[0]), float(ends[2]), examples)
