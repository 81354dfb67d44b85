"""Analyse a study of several crossed factors: main effects and two-way interactions, with the seed as the block.

An effect is made of contrasts, which are weighted sums of cells. A contrast is computed for each seed and tested over
the seeds:

* A main effect compares a level of a factor with its baseline level, averaged over the levels of the other factors.
* A two-way interaction is the difference between two such differences, averaged over the levels of the other factors.
* Interactions of three and more factors are not tested. The averages above are taken over them.
* A numeric factor with three or more levels also has a trend: the least-squares slope per doubling of the level, or
  per unit where a level is 0 or negative.

A contrast is tested by a one-sample t test over the seeds. Its interval has exact coverage if the seeds are independent
and the contrast is normal, whatever the variances of the cells and the correlations between them. An effect of several
contrasts, such as one of a factor with four levels, is tested by the F test of a repeated-measures analysis of variance
with Greenhouse and Geisser's correction for unequal variances and correlations (Greenhouse & Geisser 1959,
Psychometrika 24:95). With few seeds this correction is conservative. For one contrast the F test is the t test.

Holm's method adjusts two families of tests: the effects, one test each, and the single contrasts and trends of those
effects that have several contrasts. `benchmarks/known_truth.py` measures coverage and false positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Literal

import numpy as np

from titans_lab.stats.crossing import CrossedFactor, Crossing, Matched
from titans_lab.stats.interval import LEVEL, summarise
from titans_lab.stats.paired import holm, t_test
from titans_lab.stats.power import pooled_sd, smallest_difference

Verdict = Literal["significant", "inconclusive"]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells, over the seeds. A figure that is not determined is None.

    Attributes:
        levels: The index of the level that is compared with the baseline level, for each factor of the effect. Empty
            for a trend.
        by_seed: The values, one for each seed.
        mean: The mean of the values.
        half_width: Half of the 95 % t interval, which is not adjusted.
        p: The two-sided p of the t test.
        adjusted: p after Holm over the single contrasts; None for the only contrast of an effect.
    """

    levels: tuple[int, ...]
    by_seed: tuple[float, ...]
    mean: float
    half_width: float | None = None
    p: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class Effect:
    """A main effect or a two-way interaction.

    Attributes:
        factors: The indices of its factors: one for a main effect, two for an interaction.
        matched: The cells that it is computed from.
        diverged: The number of diverged runs in these cells.
        contrasts: The contrast of each level but the baseline level, or of each pair of such levels.
        trend: The slope along the numeric factor; None where there is none.
        p: The p of the effect's test. None for one seed, and where the contrasts have no spread.
        adjusted: p after Holm over the effects that were asked.
        detectable: The contrast that these seeds find with 80 % power after Holm, by the spread of the contrasts.
            Several contrasts of an effect count as a test each, so less will do for them. None where p is.
        verdict: "significant" where `adjusted` is below 0.05 and no run in the cells diverged.
    """

    factors: tuple[int, ...]
    matched: Matched
    diverged: int
    contrasts: tuple[Contrast, ...]
    trend: Contrast | None
    p: float | None
    adjusted: float | None = None
    detectable: float | None = None
    verdict: Verdict = "inconclusive"

    @property
    def seeds(self) -> int:
        """Return the number of seeds that have a value in all of the cells."""
        return len(self.matched.seeds)


def effects(crossing: Crossing) -> list[Effect]:
    """Return the main effects and then the two-way interactions that the cells allow.

    Holm's method counts an interaction if the study crosses its two factors, even if runs diverged.
    """
    every_pair = combinations(range(len(crossing.factors)), 2)
    asked: list[tuple[int, ...]] = [(axis,) for axis in range(len(crossing.factors))]
    asked += [axes for axes in every_pair if crossing.crosses(axes)]
    matched = {axes: found for axes in asked if (found := crossing.matched(axes))}
    every = [_effect(axes, found, crossing) for axes, found in matched.items()]
    adjusted = holm([*(effect.p for effect in every), *[None] * (len(asked) - len(every))])
    judged = [_judged(effect, p, len(asked)) for effect, p in zip(every, adjusted, strict=False)]
    return _with_adjusted_contrasts(judged)


def repeated_measures_p(contrasts: np.ndarray) -> float | None:
    """Return the p of the repeated-measures F test with Greenhouse and Geisser's correction.

    Args:
        contrasts: `[contrasts, seeds]`, orthonormal. The result is None for one seed, and where they have no spread.
    """
    from scipy.special import fdtrc

    seeds = contrasts.shape[1]
    if seeds < 2:
        return None
    mean, covariance = contrasts.mean(axis=1), np.atleast_2d(np.cov(contrasts))
    trace = np.trace(covariance)
    if not trace > 0:
        return None
    freedom = trace**2 / np.sum(covariance**2)  # Box's epsilon times the number of contrasts
    return float(fdtrc(freedom, freedom * (seeds - 1), seeds * mean @ mean / trace))


def _effect(axes: Sequence[int], matched: Matched, crossing: Crossing) -> Effect:
    """Return the effect of the factors `axes`, not adjusted yet."""
    from scipy.linalg import helmert

    levels = matched.levels
    differences = _weighted(matched.means, [_differences(len(each)) for each in levels])
    names = product(*(each[1:] for each in levels))
    contrasts = [_contrast(name, values, matched.means) for name, values in zip(names, differences, strict=True)]
    spread = any(contrast.p is not None for contrast in contrasts)
    return Effect(
        factors=tuple(axes),
        matched=matched,
        diverged=sum(crossing.cells[cell].diverged for cell in matched.cells),
        contrasts=tuple(contrasts),
        trend=_trend([crossing.factors[axis] for axis in axes], matched),
        p=repeated_measures_p(_weighted(matched.means, [helmert(len(each)) for each in levels])) if spread else None,
    )


def _weighted(means: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return `[contrasts, seeds]` of `[levels ..., seeds]`, by the weights `[contrasts, levels]` of each factor."""
    for axis, matrix in enumerate(weights):
        means = np.moveaxis(np.tensordot(matrix, means, (1, axis)), 0, axis)
    return means.reshape(-1, means.shape[-1])


def _differences(levels: int) -> np.ndarray:
    """Return the weights `[levels - 1, levels]` of each level minus the first one."""
    return np.hstack([-np.ones((levels - 1, 1)), np.eye(levels - 1)])


def _trend(factors: Sequence[CrossedFactor], matched: Matched) -> Contrast | None:
    """Return the slope along the numeric factors; for an interaction, how it changes with the other factor."""
    weights = [_slope(factor, levels) for factor, levels in zip(factors, matched.levels, strict=True)]
    numeric = any(len(levels) > 2 for levels in matched.levels)
    known = [each for each in weights if each is not None]
    if len(known) < len(weights) or not numeric:
        return None
    (values,) = _weighted(matched.means, known)
    return _contrast((), values, matched.means)


def _slope(factor: CrossedFactor, levels: Sequence[int]) -> np.ndarray | None:
    """Return the weights `[1, levels]` of the least-squares slope, or of a difference; None for more than two names."""
    if len(levels) == 2:
        return _differences(2)
    if not factor.has_trend:
        return None
    x = np.array([factor.levels[level] for level in levels], float)
    x = np.log2(x) if factor.by_ratio else x
    centred = x - x.mean()
    return (centred / (centred @ centred))[None]


def _contrast(levels: tuple[int, ...], values: np.ndarray, means: np.ndarray) -> Contrast:
    """Return a contrast of one value for each seed; `means` are the values that it was computed from."""
    p, found = t_test(values, means), summarise(values.tolist())
    return Contrast(levels, tuple(values.tolist()), found.mean, None if p is None else found.half_width, p)


def _judged(effect: Effect, adjusted: float | None, asked: int) -> Effect:
    """Return an effect with its adjusted p, its detectable difference and its verdict."""
    sure = adjusted is not None and adjusted < 1 - LEVEL and not effect.diverged
    spread = pooled_sd([contrast.by_seed for contrast in effect.contrasts]) if effect.p is not None else None
    detectable = smallest_difference(spread, effect.seeds, asked * len(effect.contrasts)) if spread else None
    return replace(effect, adjusted=adjusted, detectable=detectable, verdict="significant" if sure else "inconclusive")


def _with_adjusted_contrasts(found: Sequence[Effect]) -> list[Effect]:
    """Return the effects with the p of their single contrasts and trends adjusted over all of these."""
    several = [effect for effect in found if len(effect.contrasts) > 1]
    every = [each for effect in several for each in (*effect.contrasts, effect.trend) if each]
    adjusted = iter(holm([each.p for each in every]))

    def updated(effect: Effect) -> Effect:
        if len(effect.contrasts) == 1:
            return effect
        contrasts = tuple(replace(each, adjusted=next(adjusted)) for each in effect.contrasts)
        trend = effect.trend and replace(effect.trend, adjusted=next(adjusted))
        return replace(effect, contrasts=contrasts, trend=trend)

    return [updated(effect) for effect in found]
