"""Which of several compromises are worth having."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other is at least as low as in both values and lower in one, by their first value.

    Pareto's front where less of both is better; negate a value of which more is.
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda place: points[place]):
        cost, loss = points[index]
        if not found or loss < points[found[-1]][1] or (cost, loss) == points[found[-1]]:
            found.append(index)
    return found
