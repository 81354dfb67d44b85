"""Fit a law, and estimate the uncertainty of its coefficients.

The objective is the sum over points of Huber's loss of log L - log L_measured, with delta 1e-3, in log-sum-exp form
(Hoffmann et al., arXiv 2203.15556, section 3.3), from a grid of starts. With the mean in place of the sum L-BFGS stops
near where it began (Besiroglu et al., arXiv 2404.10102): below 1, its tolerances are absolute. The starts are ranked by
their objective and the best refined by `titans_lab.stats.scaling.descent`, all at once, as are the resamples of a
bootstrap, each from the optimum over all points. Variables are centred, which leaves the optimum where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from titans_lab.stats.interval import LEVEL, Interval, percentile_interval
from titans_lab.stats.scaling.descent import GAIN, descend, objectives
from titans_lab.stats.scaling.law import Law
from titans_lab.stats.scaling.points import Points

DELTA = 1e-3  # log residuals beyond it count linearly
LOG_OFFSETS = np.arange(-1, 1.5, 0.5)
LOG_AMPLITUDES = np.arange(0, 30, 5.0)
EXPONENTS = np.arange(0, 2.5, 0.5)
REFINED = 20
RESAMPLES = 400
RESAMPLED_GAIN = 1e-6  # relative: an interval needs no more digits of a resample's objective
WIDEST = 10.0  # the upper over the lower end of an exponent's interval: a law with a wider one is not identified


@dataclass(frozen=True, eq=False)
class Fit:
    """A law and the laws that resampled runs give.

    Attributes:
        points: The points that it was fitted to.
        law: The law with the lowest objective over all points.
        resampled: The optima over runs drawn with replacement, each found from `law`.
    """

    points: Points
    law: Law
    resampled: tuple[Law, ...] = field(repr=False)

    @property
    def open_exponents(self) -> tuple[Interval, ...]:
        """Return the intervals of the undetermined exponents: they reach 0, or span more than a factor of ten."""
        places = range(len(self.law.exponents))
        found = [self.interval(lambda law, at=at: law.exponents[at]) for at in places]  # type: ignore[misc]
        return tuple(each for each in found if not 0 < each.high < WIDEST * each.low)

    @property
    def residuals(self) -> np.ndarray:
        """Return the log of measured over fitted loss, `[points]`."""
        return np.log(self.points.loss) - self.law.log_loss(self.points.x)

    def interval(self, measure: Callable[[Law], float], level: float = LEVEL) -> Interval:
        """Return `measure` of the law, with the percentile interval over the resampled laws."""
        return percentile_interval(measure(self.law), [measure(law) for law in self.resampled], level)

    def band(self, x: np.ndarray, level: float = LEVEL, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the prediction interval of a run's loss at `x` `[points, variables]`: both ends, `[points]`.

        Percentiles over the resampled laws, each times the exponential of a residual drawn at random.
        """
        generator = np.random.default_rng(seed)
        curves = np.stack([law.log_loss(x) for law in self.resampled])
        noisy = curves + generator.choice(self.residuals, size=curves.shape)
        low, high = np.exp(np.quantile(noisy, [(1 - level) / 2, (1 + level) / 2], axis=0))
        return low, high


def fit(points: Points, resamples: int = RESAMPLES, seed: int = 0) -> Fit:
    """Fit a law of one or two variables through `points`, bootstrapped over whole runs with a generator of its own."""
    law = fit_law(points)
    _, member = np.unique(points.run, return_inverse=True)
    runs = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    draws = [np.bincount(generator.integers(0, runs, runs), minlength=runs)[member] for _ in range(resamples)]
    found = _refine(points, np.array(draws, float), np.tile(law.vector(), (resamples, 1)), RESAMPLED_GAIN)
    return Fit(points, law, tuple(map(Law.of, found)))


def fit_law(points: Points) -> Law:
    """Return the law with the lowest objective over all points."""
    log_x, log_loss = np.log(points.x), np.log(points.loss)
    grid = np.array(starts(points.variables))
    weight = np.ones(len(points.loss))
    ranks = np.argsort(objectives(grid, log_x, log_loss, weight[None], DELTA), kind="stable")[:REFINED]
    found = _refine(points, np.tile(weight, (len(ranks), 1)), grid[ranks])
    return Law.of(found[np.argmin(objectives(found, log_x, log_loss, weight[None], DELTA))])


def starts(variables: int) -> list[np.ndarray]:
    """Return Chinchilla's grid of starts: 4,500 vectors for two variables, 150 for one."""
    axes = [LOG_OFFSETS, *[LOG_AMPLITUDES] * variables, *[EXPONENTS] * variables]
    return [np.array(start) for start in product(*axes)]


def _refine(points: Points, weights: np.ndarray, vectors: np.ndarray, gain: float = GAIN) -> np.ndarray:
    """Return the optima `[laws, 1 + 2 variables]` that are found from `vectors`, each under its row of `weights`."""
    log_x = np.log(points.x)
    centre = log_x.mean(axis=0)
    found = descend(_shifted(vectors, -centre), log_x - centre, np.log(points.loss), weights, DELTA, gain)
    return _shifted(found, centre)


def _shifted(vectors: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return the vectors of the same curves with log x larger by `by`."""
    amplitudes, exponents = np.split(vectors[:, 1:], 2, axis=1)
    return np.concatenate([vectors[:, :1], amplitudes + exponents * by, exponents], axis=1)
