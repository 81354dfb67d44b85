"""Compute the smallest difference that a number of seeds can detect, before any run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from titans_lab.stats.interval import LEVEL

POWER = 0.8


@dataclass(frozen=True)
class Detectable:
    """The difference that a comparison of arms by seeds can detect.

    Attributes:
        difference: The smallest true difference that is detected with 80 % power after Holm; None for one seed.
        sd: The standard deviation of paired differences.
        pairs: The number of pairs that it comes from.
        seeds: The number of pairs that an arm has or will have.
        arms: The number of arms that are compared with the baseline.
    """

    difference: float | None
    sd: float
    pairs: int
    seeds: int
    arms: int


def detectable(differences: Iterable[Sequence[float]], seeds: int, arms: int) -> Detectable | None:
    """Return the difference that `seeds` pairs of each of `arms` arms detect.

    None where no arm has two differences with a spread. An arm whose differences are all one number tells nothing of
    the spread and is left out.

    Args:
        differences: The differences of each arm to the base, by seed.
        seeds: The number of pairs that an arm has or will have.
        arms: The number of arms that are compared with the base.
    """
    spread = [each for each in differences if len(set(each)) > 1]
    sd = pooled_sd(spread)
    if not sd or arms < 1:
        return None
    return Detectable(smallest_difference(sd, seeds, arms), sd, sum(map(len, spread)), seeds, arms)


def pooled_sd(differences: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation of paired differences, pooled over arms, or None where no arm has two.

    Args:
        differences: The differences of each arm to the base, by seed.
    """
    several = [np.asarray(each) for each in differences if len(each) > 1]
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in several)
    freedom = sum(len(each) - 1 for each in several)
    return (squares / freedom) ** 0.5 if freedom else None


def smallest_difference(sd: float, seeds: int, arms: int = 1, power: float = POWER) -> float | None:
    """Return the true difference that a paired t test over `seeds` detects with this power, Holm-adjusted over `arms`.

    Holm's method compares the smallest p of m arms with 0.05 / m, so this is what an arm needs that is the only one to
    differ; where others differ too, less will do. None for one seed. From the noncentral t distribution (Cohen 1988,
    Statistical Power Analysis, chapter 2).

    Args:
        sd: Standard deviation of the paired differences, > 0.
        seeds: Pairs.
        arms: Compared with the base, at least 1.
        power: The power, between 0.05 and 1.
    """
    if not sd > 0 or arms < 1 or not 1 - LEVEL < power < 1:
        raise ValueError(f"sd {sd}, arms {arms}, power {power}: not above 0, at least 1, and between 0.05 and 1")
    if seeds < 2:
        return None
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    freedom, needed = seeds - 1, (1 - LEVEL) / arms
    critical = stdtrit(freedom, 1 - needed / 2)
    most = critical
    while nctdtr(freedom, most, critical) > 1 - power:
        most *= 2
    shift = brentq(lambda nc: 1 - nctdtr(freedom, nc, critical) - power, 0, most)
    return float(shift * sd / seeds**0.5)
