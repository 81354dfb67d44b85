"""Values with an interval: by the t distribution over seeds, or by a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def percentile_interval(value: float, resampled: Sequence[float] | np.ndarray, level: float = LEVEL) -> Interval:
    """Return the estimate `value` with percentiles of the resamples (Efron & Tibshirani 1993, section 13.3)."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


@dataclass(frozen=True)
class Summary:
    """The mean of repeated measurements and its uncertainty.

    Attributes:
        n: The number of measurements.
        mean: The mean of the measurements.
        sd: The sample standard deviation of the measurements. None for one.
        half_width: Half of the width of the t interval around the mean. None for one measurement.
    """

    n: int
    mean: float
    sd: float | None
    half_width: float | None

    @property
    def low(self) -> float:
        """Return the lower end of the interval, minus infinity for one measurement."""
        return -np.inf if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float:
        """Return the upper end of the interval, infinity for one measurement."""
        return np.inf if self.half_width is None else self.mean + self.half_width


def summarise(values: Sequence[float], level: float = LEVEL) -> Summary:
    """Return mean, spread and t interval of at least one finite value.

    With few seeds the t interval keeps its level where a percentile bootstrap does not (75 % instead of 95 at n = 3).
    """
    if not len(values):
        raise ValueError("values: nothing to summarise")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Summary(n, mean, None, None)
    from scipy.special import stdtrit  # a fifth of the import cost of scipy.stats

    sd = float(np.std(values, ddof=1))
    return Summary(n, mean, sd, float(stdtrit(n - 1, (1 + level) / 2)) * sd / n**0.5)
