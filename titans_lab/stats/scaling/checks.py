"""Check a fit: predict the held-out largest budget, and compare with parabolas at each budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from titans_lab.stats.interval import Interval
from titans_lab.stats.scaling.fit import fit_law
from titans_lab.stats.scaling.points import Points, check_enough

SAME_BUDGET = 1.1  # budgets within this factor are one
FEWEST_SIZES = 3  # of a parabola


@dataclass(frozen=True)
class HeldOut:
    """The prediction of the largest budget by a law that was fitted to the smaller ones.

    Attributes:
        points: Left out of the fit.
        error: Mean of predicted over measured loss, minus 1.
        spread: Root mean square of the same.
    """

    points: int
    error: float
    spread: float


@dataclass(frozen=True)
class Parabola:
    """Loss against log parameters at one budget.

    Attributes:
        budget: FLOPs, their geometric mean.
        sizes: The number of measured sizes.
        optimum: Parameters at its lowest point; None at the edge of the grid, where a parabola only guesses.
        range: Smallest and largest of the sizes.
        terms: Its coefficients, the square's first, in log parameters less their mean `centre`.
    """

    budget: float
    sizes: int
    optimum: float | None
    range: tuple[float, float]
    terms: tuple[float, float, float]
    centre: float

    def loss(self, parameters: np.ndarray) -> np.ndarray:
        """Return the loss on the parabola."""
        return np.polyval(self.terms, np.log(parameters) - self.centre)


def held_out(points: Points, flops: np.ndarray, names: tuple[str, ...]) -> HeldOut:
    """Fit without the largest of the budgets `flops` `[points]`; ValueError where the others do not determine a law."""
    largest = budgets(flops) == budgets(flops).max()
    rest = points.where(~largest)
    check_enough(rest, names)
    out = points.where(largest)
    ratio = fit_law(rest).loss(out.x) / out.loss - 1
    return HeldOut(len(ratio), float(ratio.mean()), float(np.sqrt(np.mean(ratio**2))))


def budgets(flops: np.ndarray) -> np.ndarray:
    """Return the budget of each point, `[points]`, numbered from the smallest; a gap over 10 % begins a new one."""
    order = np.argsort(flops)
    steps = np.diff(np.log(flops[order])) > np.log(SAME_BUDGET)
    numbers = np.empty(len(flops), int)
    numbers[order] = np.concatenate([[0], np.cumsum(steps)])
    return numbers


def parabolas(parameters: np.ndarray, flops: np.ndarray, loss: np.ndarray) -> list[Parabola]:
    """Fit a parabola to each budget with three sizes or more (arXiv 2203.15556, section 3.2, approach 2)."""
    numbers = budgets(flops)
    masks = [numbers == number for number in range(numbers.max() + 1)]
    return [
        _parabola(np.log(parameters[mask]), float(np.exp(np.log(flops[mask]).mean())), loss[mask])
        for mask in masks
        if len(np.unique(parameters[mask])) >= FEWEST_SIZES
    ]


def parabola_exponent(found: list[Parabola]) -> Interval | None:
    """Return a of parameters ~ C^a through the optima, with the regression's 95 % t interval.

    It is None for fewer than three.

    It is biased even without noise: a parabola in log parameters is not the law's own shape.
    """
    optima = [(each.budget, each.optimum) for each in found if each.optimum is not None]
    if len(optima) < 3:
        return None
    from scipy.special import stdtrit

    x, y = np.log(np.array(optima)).T
    x -= x.mean()
    slope = float(x @ y / (x @ x))
    residual = y - y.mean() - slope * x
    error = np.sqrt(residual @ residual / (len(x) - 2) / (x @ x))
    half = float(stdtrit(len(x) - 2, 0.975) * error)
    return Interval(slope, slope - half, slope + half)


def _parabola(log_size: np.ndarray, budget: float, loss: np.ndarray) -> Parabola:
    sizes, member = np.unique(log_size, return_inverse=True)
    means = np.bincount(member, loss) / np.bincount(member)
    centre = float(sizes.mean())
    curvature, slope, level = np.polyfit(sizes - centre, means, 2).tolist()
    inside = 0 < np.argmin(means) < len(sizes) - 1 and curvature > 0
    lowest = centre - slope / (2 * curvature) if inside else np.inf
    return Parabola(
        budget=budget,
        sizes=len(sizes),
        optimum=float(np.exp(lowest)) if sizes[0] < lowest < sizes[-1] else None,
        range=(float(np.exp(sizes[0])), float(np.exp(sizes[-1]))),
        terms=(curvature, slope, level),
        centre=centre,
    )
