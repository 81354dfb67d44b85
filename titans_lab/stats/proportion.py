"""The interval of a share of successes."""

from __future__ import annotations

from statistics import NormalDist


def wilson(successes: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (1927, JASA 22), which keeps its level with few trials.

    ValueError: no trial, or more successes than trials.
    """
    if count < 1 or not 0 <= successes <= count:
        raise ValueError(f"successes: {successes} of {count} is not a share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = successes / count, z * z / count
    middle = (share + weight / 2) / (1 + weight)
    half = z * (share * (1 - share) / count + weight / (4 * count)) ** 0.5 / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
