"""Measure the importance of each parameter of a search: the share of the variance that it explains alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 4
FEWEST = 8  # the fewest points that give an importance


def importances(points: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """Return the `importance` of every parameter that all points have and that varied, the largest first.

    Args:
        points: Values by name.
        scores: The score of each point.
    """
    if len(points) < FEWEST:
        return {}
    names = [name for name in points[0] if all(name in point for point in points)]
    found = {name: importance([point[name] for point in points], scores) for name in names}
    known = {name: value for name, value in found.items() if value is not None}
    return dict(sorted(known.items(), key=lambda pair: -pair[1]))


def importance(values: Sequence[Any], scores: Sequence[float], bins: int = BINS) -> float | None:
    """Return the share of the rank variance between groups of a parameter's values: epsilon squared, 0 to 1.

    Kelley's unbiased estimate (1935, PNAS 21:554): about 0 for a parameter that does nothing, however many groups.
    Numbers with more than `bins` distinct values are grouped into as many quantiles. It sees main effects alone, not
    what two parameters do together. None where there is one group, no more values than groups, or one score.
    """
    groups = _groups(values, bins)
    ranks = _ranks(np.asarray(scores, float))
    count, kinds = len(ranks), np.unique(groups)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if len(kinds) < 2 or count <= len(kinds) or not total:
        return None
    parts = [ranks[groups == kind] for kind in kinds]
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    return max(0.0, 1 - within / (count - len(kinds)) / (total / (count - 1)))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks from 1; equal scores share their mean rank."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _groups(values: Sequence[Any], bins: int) -> np.ndarray:
    """Return the group of each value."""
    names = sorted({repr(value) for value in values})
    numeric = all(type(value) in (int, float) for value in values)
    if not numeric or len(names) <= bins:
        return np.array([names.index(repr(value)) for value in values])
    ends = np.quantile(np.array(values, float), np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(ends, np.array(values, float), side="right")
