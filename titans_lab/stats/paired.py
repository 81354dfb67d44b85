"""Compare the arms of a study with its base, seed by seed: difference, confidence interval and verdict.

A seed decides the batches and the initial values, so the arms' losses go up and down together with it, and their
differences vary less than the losses do. With few seeds the t interval of the differences keeps its level where a
percentile bootstrap does not (75 % instead of 95 at n = 3), and the verdict rests on its p, adjusted over all arms of
the study (Holm 1979). The sign-flip p assumes no distribution; with n seeds it cannot fall below 2 / 2^n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from titans_lab.stats.interval import LEVEL, summarise

Verdict = Literal["better", "worse", "inconclusive"]

MOST_FLIPPED = 20  # seeds; the sign-flip test enumerates 2^seeds sums
RESOLUTION = 1e-12  # relative to the values; differences with less spread count as equal


@dataclass(frozen=True)
class Sample:
    """The results of an arm's seeds.

    Attributes:
        values: The final value of each seed that reached its end, finite.
        diverged: The number of seeds that diverged.
        paired: Whether a seed has the same batches in this arm as in the base.
    """

    values: Mapping[int, float]
    diverged: int = 0
    paired: bool = True


@dataclass(frozen=True)
class Difference:
    """The difference of an arm from the base. A figure that is not determined is None.

    Attributes:
        seeds: The number of pairs of seeds; for an unpaired test the number of seeds of the arm.
        diverged: The number of seeds of the arm that diverged.
        base_diverged: The number of seeds of the base that diverged.
        paired: Whether the test is paired by seed, else unpaired (Welch 1947).
        mean: The mean of the differences.
        half_width: Half of the 95 % t interval, not adjusted for the number of arms. None for one seed, and where the
            differences have no spread.
        p: The two-sided p of the same t test.
        adjusted: p after Holm over all arms.
        sign_flip: Two-sided p of the exact sign-flip test (Fisher 1935), a check on the normal distribution that the t
            test assumes; None unpaired and beyond 20 seeds.
        effect: The mean over the standard deviation across seeds, the root mean square of the arm's and the base's
            (Cumming 2012, Cohen's d_av).
        correlation: The Pearson correlation of arm and base over the seeds, from three seeds on. Pairing gains from it.
        verdict: "better" or "worse" where `adjusted` is below 0.05, else "inconclusive". An arm with a diverged seed
            is never better, and none is worse than a base that has one.
    """

    seeds: int
    diverged: int
    base_diverged: int
    paired: bool
    mean: float | None = None
    half_width: float | None = None
    p: float | None = None
    adjusted: float | None = None
    sign_flip: float | None = None
    effect: float | None = None
    correlation: float | None = None
    verdict: Verdict = "inconclusive"

    @property
    def given_convergence(self) -> bool:
        """Return whether diverged seeds are missing from the difference."""
        return self.diverged + self.base_diverged > 0


def compare(base: Sample, arms: Sequence[Sample], lower_is_better: bool = True) -> list[Difference]:
    """Compare each of `arms`, all that the study has, with the baseline."""
    return compare_pairs([(base, arm) for arm in arms], lower_is_better)


def compare_pairs(pairs: Sequence[tuple[Sample, Sample]], lower_is_better: bool = True) -> list[Difference]:
    """Compare each arm with its own baseline. A pair is a baseline and an arm, and all pairs are one family."""
    measured = [_paired(base, arm) if arm.paired else _unpaired(base, arm) for base, arm in pairs]
    adjusted = holm([each.p for each in measured])
    return [_judged(each, p, lower_is_better) for each, p in zip(measured, adjusted, strict=True)]


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted by Holm's step-down method (Holm 1979, Scand. J. Statist. 6:65).

    A test that could not be made stays None and counts as 1: the family is all that was asked, whatever diverged.
    """
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(sorted((v, i) for i, v in enumerate(p) if v is not None)):
        largest = max(largest, min(1.0, (len(p) - rank) * value))
        adjusted[place] = largest
    return adjusted


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Return the share of the ways to set the signs that give a sum at least as far from 0.

    It is None for more than 20 differences.
    """
    if not 1 <= len(differences) <= MOST_FLIPPED:
        return None
    sums = np.zeros(1)
    for difference in np.abs(differences):
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(float(np.sum(differences)))
    return float(np.mean(np.abs(sums) >= observed - RESOLUTION * sums[0]))


def t_test(differences: np.ndarray, scale: np.ndarray) -> float | None:
    """Return the two-sided p of the one-sample t test that the mean is 0.

    Args:
        differences: One for each seed.
        scale: Values that they are differences of. Differences that are equal up to the rounding of these have no
            spread to judge by, and the result is None, as for one seed.
    """
    if len(differences) < 2 or _flat(differences, scale):
        return None
    error = float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    return _two_sided(float(np.mean(differences)) / error, len(differences) - 1)


def _paired(base: Sample, arm: Sample) -> Difference:
    seeds = sorted(base.values.keys() & arm.values.keys())
    x, y = (np.array([sample.values[seed] for seed in seeds]) for sample in (base, arm))
    found = Difference(len(seeds), arm.diverged, base.diverged, paired=True)
    if not seeds:
        return found
    found = replace(found, mean=float(np.mean(y - x)))
    p = t_test(y - x, x)
    if p is None:
        return found
    return replace(
        found,
        half_width=summarise(y - x).half_width,
        p=p,
        sign_flip=sign_flip_p(y - x),
        effect=_effect(x, y),
        correlation=_correlation(x, y),
    )


def _unpaired(base: Sample, arm: Sample) -> Difference:
    x, y = (np.array(list(sample.values.values())) for sample in (base, arm))
    found = Difference(len(y), arm.diverged, base.diverged, paired=False)
    if not len(x) or not len(y):
        return found
    found = replace(found, mean=float(y.mean() - x.mean()))
    if min(len(x), len(y)) == 1 or (_flat(x, x) and _flat(y, y)):
        return found
    assert found.mean is not None
    error, freedom = _welch(x, y)
    half_width = _t_quantile(freedom) * error
    return replace(found, half_width=half_width, p=_two_sided(found.mean / error, freedom), effect=_effect(x, y))


def _welch(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the difference of the means, and its degrees of freedom (Welch 1947)."""
    parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    freedom = parts.sum() ** 2 / np.sum(parts**2 / (len(x) - 1, len(y) - 1))
    return float(np.sqrt(parts.sum())), float(freedom)


def _judged(found: Difference, adjusted: float | None, lower_is_better: bool) -> Difference:
    found = replace(found, adjusted=adjusted)
    if adjusted is None or adjusted >= 1 - LEVEL or not found.mean:
        return found
    verdict: Verdict = "better" if (found.mean < 0) == lower_is_better else "worse"
    spoiled = found.diverged if verdict == "better" else found.base_diverged
    return found if spoiled else replace(found, verdict=verdict)


def _flat(values: np.ndarray, scale: np.ndarray) -> bool:
    """Return whether all values are equal up to rounding."""
    return bool(np.ptp(values) <= RESOLUTION * max(np.abs(scale).max(), np.abs(values).max()))


def _effect(x: np.ndarray, y: np.ndarray) -> float | None:
    spread = ((x.var(ddof=1) + y.var(ddof=1)) / 2) ** 0.5
    return float((y.mean() - x.mean()) / spread) if spread else None


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 3 or _flat(x, x) or _flat(y, y):
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr  # a fifth of the import cost of scipy.stats

    return float(2 * stdtr(freedom, -abs(t)))


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
