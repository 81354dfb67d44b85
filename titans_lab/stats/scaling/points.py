"""Losses measured at several sizes and budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Of the range of the widest direction: variables that span less in another one move together.
TOGETHER = 0.02


@dataclass(frozen=True, eq=False)
class Points:
    """The points that a law is fitted to.

    Attributes:
        x: The variables `[points, variables]`, above 0: parameters and tokens, or one of them, or FLOPs.
        loss: `[points]`, > 0, in any unit: the exponents do not depend on it.
        run: `[points]`, which run a point is of. Checkpoints of a run are not independent: a bootstrap draws runs.
    """

    x: np.ndarray
    loss: np.ndarray
    run: np.ndarray

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.loss.shape != self.x.shape[:1] or self.run.shape != self.loss.shape:
            shapes = f"{self.x.shape}, {self.loss.shape} and {self.run.shape}"
            raise ValueError(f"x, loss and run: of shapes {shapes}, not [points, variables], [points] and [points]")
        for name, values in (("x", self.x), ("loss", self.loss)):
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ValueError(f"{name}: has values that are not finite numbers above 0")

    @property
    def variables(self) -> int:
        """Return the number of variables, 1 or 2."""
        return self.x.shape[1]

    def where(self, chosen: np.ndarray) -> Points:
        """Return the points that the mask `chosen` picks."""
        return Points(self.x[chosen], self.loss[chosen], self.run[chosen])


def check_enough(points: Points, names: tuple[str, ...]) -> None:
    """Raise ValueError, with a readable message, where the points do not determine a law in the variables `names`."""
    needed = 4 if points.variables == 1 else 3
    for name, values in zip(names, points.x.T, strict=True):
        distinct = len(np.unique(values))
        if distinct < needed:
            raise ValueError(f"{distinct} distinct values of {name}: a fit needs {needed}")
    if len(points.loss) <= 1 + 2 * points.variables:
        raise ValueError(
            f"{len(points.loss)} points: a law of {1 + 2 * points.variables} coefficients needs more points than that"
        )
    if points.variables == 2:
        logs = np.log(points.x)
        spread = np.linalg.svd(logs - logs.mean(axis=0), compute_uv=False)
        if spread[-1] < TOGETHER * spread[0]:
            raise ValueError(f"{' and '.join(names)} move together: nothing tells their effects apart; fit one of them")
