"""Data whose truth is known, to hold the statistics against."""

from __future__ import annotations

from itertools import product

import numpy as np

from titans_lab.stats.crossing import CrossedFactor, Crossing
from titans_lab.stats.paired import Sample
from titans_lab.stats.scaling.law import Law
from titans_lab.stats.scaling.points import Points

#: arXiv 2404.10102, refitted to Chinchilla's points: E 1.8172, A 477.8, B 2143.4.
CHINCHILLA = Law(float(np.log(1.8172)), (float(np.log(477.8)), float(np.log(2143.4))), (0.3473, 0.3672))
#: Times Student's t with so many degrees of freedom: the log residuals of that fit have half within 0.0032, 95 % within
#: 0.0128.
NOISE, FREEDOM = 0.0042, 3
BUDGETS = np.geomspace(6e18, 3e21, 8)
SIZES = 30  # at each budget, a factor of 5 to either side of about the best


def study(
    seeds: int, arms: int, generator: np.random.Generator, correlation: float = 0.5, shift: float = 0.0
) -> tuple[Sample, list[Sample]]:
    """Return a baseline and arms with normal losses of standard deviation 1, all arms `shift` from the baseline.

    Args:
        seeds: The number of seeds of each arm.
        arms: Besides the base.
        generator: The generator to draw with.
        correlation: The correlation between any two arms over the seeds, 0 to 1.
        shift: True difference to the base.
    """
    common = correlation**0.5 * generator.standard_normal(seeds)
    own = (1 - correlation) ** 0.5 * generator.standard_normal((arms + 1, seeds))
    base, *others = (Sample(dict(enumerate((common + each).tolist()))) for each in own)
    return base, [Sample({seed: value + shift for seed, value in arm.values.items()}) for arm in others]


def factorial(
    levels: tuple[int, ...],
    seeds: int,
    generator: np.random.Generator,
    correlation: float = 0.5,
    spread: float = 1.0,
    shift: float = 0.0,
) -> Crossing:
    """Return a crossed study with normal losses.

    Args:
        levels: The number of levels of each factor.
        seeds: Of each cell.
        generator: To draw with.
        correlation: Between any two cells over the seeds, 0 to 1.
        spread: The standard deviation of the last cell; the first has 1, and the ratio from cell to cell is equal.
        shift: What each step from a level of the first factor to the next one adds.
    """
    cells = list(product(*(range(size) for size in levels)))
    common = correlation**0.5 * generator.standard_normal(seeds)
    own = (1 - correlation) ** 0.5 * generator.standard_normal((len(cells), seeds))
    values = (common + own) * np.geomspace(1, spread, len(cells))[:, None]
    factors = tuple(CrossedFactor(f"factor {place}", tuple(range(size))) for place, size in enumerate(levels))
    samples = (
        Sample(dict(enumerate((row + shift * cell[0]).tolist()))) for cell, row in zip(cells, values, strict=True)
    )
    return Crossing(factors, dict(zip(cells, samples, strict=True)))


def chinchilla(generator: np.random.Generator, law: Law = CHINCHILLA) -> tuple[Points, np.ndarray]:
    """Return 240 runs of known law at Chinchilla's scale with its noise, and the FLOPs of each."""
    flops = np.repeat(BUDGETS, SIZES)
    parameters = 0.1 * flops**0.5 * np.tile(np.geomspace(0.2, 5, SIZES), len(BUDGETS))
    x = np.stack([parameters, flops / (6 * parameters)], axis=1)
    noise = NOISE * generator.standard_t(FREEDOM, len(flops))
    return Points(x, law.loss(x) * np.exp(noise), np.arange(len(flops))), flops
