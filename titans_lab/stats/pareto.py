"""Find the Pareto front of several points."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other dominates (lower in one value, no higher in the other).

    They are ordered by the first value. Lower is better for both values: negate one for which higher is better.
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda place: points[place]):
        cost, loss = points[index]
        if not found or loss < points[found[-1]][1] or (cost, loss) == points[found[-1]]:
            found.append(index)
    return found
