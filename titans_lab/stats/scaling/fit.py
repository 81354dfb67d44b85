"""Fitting a law, and how far to trust it.

The sum over points of Huber's loss of log L - log L_measured, with delta 1e-3, in log-sum-exp form (Hoffmann et al.,
arXiv 2203.15556, section 3.3), from a grid of starts. With the mean in place of the sum L-BFGS stops near where it
began (Besiroglu et al., arXiv 2404.10102): below 1, its tolerances are absolute. Here they are near the resolution of
float64, and the variables are centred, which leaves the optimum where it is and takes fewer steps to it. The starts are
ranked by their objective and the best five refined; on Chinchilla's points all five come to the same optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from titans_lab.stats.interval import LEVEL, Interval, percentile_interval
from titans_lab.stats.scaling.law import Law, log_terms
from titans_lab.stats.scaling.points import Points

DELTA = 1e-3  # log residuals beyond it count linearly
LOG_OFFSETS = np.arange(-1, 1.5, 0.5)
LOG_AMPLITUDES = np.arange(0, 30, 5.0)
EXPONENTS = np.arange(0, 2.5, 0.5)
REFINED = 5
RESAMPLES = 400
TIGHT = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 20_000, "maxcor": 20}

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Fit:
    """A law and the laws that resampled runs give.

    Attributes:
        points: The points that it was fitted to.
        law: Return the law with the lowest objective over all points.
        resampled: The optima over runs drawn with replacement, each found from `law`.
    """

    points: Points
    law: Law
    resampled: tuple[Law, ...] = field(repr=False)

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
    draws = (np.bincount(generator.integers(0, runs, runs), minlength=runs)[member] for _ in range(resamples))
    return Fit(points, law, tuple(_refine(points, drawn, law) for drawn in draws))


def fit_law(points: Points) -> Law:
    """Return the law with the lowest objective over all points."""
    log_x, weight = np.log(points.x), np.ones(len(points.loss))
    objective = objective_of(log_x, np.log(points.loss), weight)
    grid = list(starts(points.variables))
    best = np.argsort([objective(start)[0] for start in grid], kind="stable")[:REFINED]
    laws = [_refine(points, weight, Law.of(grid[index])) for index in best]
    return min(laws, key=lambda law: objective(law.vector())[0])


def starts(variables: int) -> list[np.ndarray]:
    """Chinchilla's grid: 4,500 vectors for two variables, 150 for one."""
    axes = [LOG_OFFSETS, *[LOG_AMPLITUDES] * variables, *[EXPONENTS] * variables]
    return [np.array(start) for start in product(*axes)]


def objective_of(log_x: np.ndarray, log_loss: np.ndarray, weight: np.ndarray) -> Objective:
    """Return the sum of Huber's losses, each times its weight, and its gradient, as a function of a law's vector."""

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        terms = log_terms(vector, log_x)
        total = np.logaddexp.reduce(terms, axis=1)
        residual = total - log_loss
        slope = np.clip(residual, -DELTA, DELTA)
        share = (weight * slope)[:, None] * np.exp(terms - total[:, None])  # by log E and each log A
        gradient = np.concatenate([share.sum(axis=0), -(share[:, 1:] * log_x).sum(axis=0)])
        return float(np.sum(weight * slope * (residual - slope / 2))), gradient

    return objective


def _refine(points: Points, weight: np.ndarray, start: Law) -> Law:
    """Return the optimum that L-BFGS finds from `start`."""
    from scipy.optimize import minimize

    log_x = np.log(points.x)
    centre = log_x.mean(axis=0)
    objective = objective_of(log_x - centre, np.log(points.loss), weight)
    found = minimize(objective, _shifted(start, -centre), jac=True, method="L-BFGS-B", options=TIGHT)
    return Law.of(_shifted(Law.of(found.x), centre))


def _shifted(law: Law, by: np.ndarray) -> np.ndarray:
    """Return the vector of the same curve with log x larger by `by`."""
    amplitudes = np.array(law.log_amplitudes) + np.array(law.exponents) * by
    return np.array([law.log_offset, *amplitudes, *law.exponents])
