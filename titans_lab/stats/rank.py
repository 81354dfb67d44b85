"""Compare the ranking of arms with a reported one by Kendall's tau."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from titans_lab.stats.interval import Interval, percentile_interval

RESAMPLES = 2000
FEWEST = 3  # arms that have an order worth comparing


@dataclass(frozen=True)
class Agreement:
    """The agreement of two rankings.

    Attributes:
        arms: The number of arms that both have.
        tau: Kendall's tau-b: 1 the same order, -1 the reverse.
        interval: 95 %, from drawing our seeds with replacement; None for one seed. With three seeds it is too narrow
            (the bootstrap covers 75 %), and the reported figures count as exact.
    """

    arms: tuple[str, ...]
    tau: float
    interval: Interval | None


def kendall_tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return tau-b (Kendall 1945, Biometrika 33:239) over the last axis; NaN where all values of one side are equal."""
    left, right = np.triu_indices(x.shape[-1], 1)
    up, over = (np.sign(values[..., left] - values[..., right]) for values in (x, y))
    norm = np.sqrt(np.sum(up**2, axis=-1) * np.sum(over**2, axis=-1))
    with np.errstate(invalid="ignore"):
        return np.sum(up * over, axis=-1) / norm


def agreement(
    ours: Mapping[str, Mapping[int, float]],
    theirs: Mapping[str, float],
    same_direction: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Return the rank agreement of our arms' means and the figures in `theirs`, over the arms that both have.

    Args:
        ours: The values of each arm by seed.
        theirs: The reported value of each arm.
        same_direction: Whether lower values are better in both, or higher values in both.
        resamples: Draws of our seeds, the same seeds for every arm, since they are paired.
        seed: The seed of the generator.
    """
    arms = tuple(name for name in ours if name in theirs and ours[name])
    if len(arms) < FEWEST:
        raise ValueError(f"{len(arms)} arms in common: an order takes at least {FEWEST}")
    reported = np.array([theirs[arm] for arm in arms]) * (1 if same_direction else -1)
    tau = kendall_tau(np.array([np.mean(list(ours[arm].values())) for arm in arms]), reported)
    means = _resampled_means([ours[arm] for arm in arms], resamples, np.random.default_rng(seed))
    taus = kendall_tau(means, reported)
    several = len(means) > 0 and np.isfinite(taus).all()
    return Agreement(arms, float(tau), percentile_interval(float(tau), taus) if several else None)


def _resampled_means(values: list[Mapping[int, float]], resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return resampled means `[resamples, arms]` over the common seeds of all arms, none for fewer than two seeds."""
    shared = sorted(set.intersection(*(set(each) for each in values)))
    if len(shared) < 2:
        return np.empty((0, len(values)))
    table = np.array([[each[seed] for each in values] for seed in shared])
    return table[generator.integers(0, len(shared), (resamples, len(shared)))].mean(axis=1)
