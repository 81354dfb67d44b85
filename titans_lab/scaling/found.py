"""The result of a fit: the law and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from titans_lab.stats.interval import Interval
    from titans_lab.stats.scaling.checks import HeldOut
    from titans_lab.stats.scaling.fit import Fit

Row = dict[str, Any]


@dataclass(frozen=True)
class IsoFlop:
    """The same exponent by parabolas.

    Attributes:
        a: The exponent of the best number of parameters as a power of the budget.
        budgets: The number of budgets with three sizes or more.
        used: The number of budgets whose optimum is not at the edge of the grid.
        agrees: Whether `a` lies in the law's interval.
    """

    a: Interval
    budgets: int
    used: int
    agrees: bool


@dataclass(frozen=True)
class Optimum:
    """The parameters and tokens with which the law gives the least loss for a budget of FLOPs.

    Attributes:
        flops: The budget.
        parameters: The parameters of the model.
        tokens: The training tokens.
        loss: The predicted loss of a run, with a 95 % prediction interval.
    """

    flops: float
    parameters: float
    tokens: float
    loss: Interval


@dataclass(frozen=True)
class Scaling:
    """A law and its checks, in numbers.

    Attributes:
        group: The values of the keys that distinguish this group of runs.
        variables: The variables of the law. Parameters include the embedding and the output projection.
        runs: The number of runs in the fit.
        left_out: The number of runs that are not in the fit, by state.
        coefficients: E, A and alpha, B and beta; of two variables also a and b, by which the best numbers of parameters
            and tokens grow with the budget. With 95 % intervals from a bootstrap over whole runs.
        optimum: The optimum for ten times the largest budget, at the runs' median FLOPs per token and parameter. None
            for one variable.
        residual: Root mean square of the log of measured over fitted loss.
        held_out: The error at the largest budget of a fit without it, or None where the rest does not determine one.
        isoflop: None for one variable, or fewer than three budgets with an optimum inside their grid.
        undetermined: Whether the runs do not determine E: its interval reaches 0.
    """

    group: dict[str, Any]
    variables: tuple[str, ...]
    runs: int
    left_out: dict[str, int]
    coefficients: dict[str, Interval]
    optimum: Optimum | None
    residual: float
    held_out: HeldOut | None
    isoflop: IsoFlop | None
    undetermined: bool


@dataclass(frozen=True, eq=False)
class Fitted:
    """A law through some runs.

    Attributes:
        group: The values of the keys that distinguish this group of runs.
        variables: The variables of the law.
        rows: The rows of `SQL` that are in the fit.
        left_out: The number of runs that are not in the fit, by state.
        fit: The law and its bootstrap. Its points are in the order of `rows`.
    """

    group: dict[str, Any]
    variables: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: dict[str, int]
    fit: Fit

    @property
    def flops(self) -> np.ndarray:
        """Return the training FLOPs of each run."""
        import numpy as np

        return np.array([row["flops"] for row in self.rows], float)

    @property
    def cost(self) -> float:
        """Return the FLOPs per token and parameter, median of the runs."""
        import numpy as np

        return float(np.median([row["flops"] / (row["parameters"] * row["tokens"]) for row in self.rows]))
