"""Scaling laws through the runs of a study, from what the store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from titans_lab.errors import UserError
from titans_lab.study.study import Run

if TYPE_CHECKING:
    from titans_lab.stats.interval import Interval
    from titans_lab.stats.scaling.checks import HeldOut
    from titans_lab.stats.scaling.fit import Fit
    from titans_lab.stats.scaling.law import Law
    from titans_lab.stats.scaling.points import Points

Against = Literal["parameters", "tokens", "flops", "both"]
BOTH = ("parameters", "tokens")
VARIANT = "model.variant"
NEGLIGIBLE = 0.01  # of the lowest loss: an offset whose interval reaches below is not determined
SQL = """\
select run_id, state, loss, parameters, tokens, flops_per_token * tokens as flops
from runs
where run_id in ({ids})
order by run_id"""

Row = dict[str, Any]


@dataclass(frozen=True)
class IsoFlop:
    """The same exponent by parabolas.

    Attributes:
        a: Of the best number of parameters against the budget.
        budgets: With three sizes or more.
        used: Of which the optimum is not at the edge of the grid.
        agrees: Whether `a` lies in the interval that the law gives.
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
        parameters: Of the model.
        tokens: To train on.
        loss: To be expected of a run, with a 95 % prediction band.
    """

    flops: float
    parameters: float
    tokens: float
    loss: Interval


@dataclass(frozen=True)
class Scaling:
    """A law and what it is held against.

    Attributes:
        group: The values of the keys by which the runs were told apart.
        variables: What the loss depends on; parameters include the embedding and the output projection.
        runs: In the fit.
        left_out: How many runs are not, by state.
        coefficients: E, A and alpha, B and beta; of two variables also a and b, by which the best numbers of parameters
            and tokens grow with the budget. With 95 % intervals from a bootstrap over whole runs.
        optimum: For ten times the largest budget, at the runs' median FLOPs a token and parameter. None for one
            variable.
        residual: Root mean square of the log of measured over fitted loss.
        held_out: The error at the largest budget of a fit without it; None where the rest does not determine one.
        isoflop: None for one variable, or fewer than three budgets with an optimum inside their grid.
        undetermined: Whether the runs leave E open, since its interval reaches 0.
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


def scalings(runs: Sequence[Run], root: Path, against: Against | None = None, by: str | None = None) -> list[Scaling]:
    """A law for each value of the varied key `by`, else for each variant.

    Args:
        runs: Of a study.
        root: Of the store.
        against: What the loss depends on; None: parameters and tokens, as far as they vary.
        by: A dotted key of the study.

    Raises:
        UserError: The runs do not determine a law; no such key.
    """
    from titans_lab.store.query import query

    rows = {row["run_id"]: row for row in query(root, SQL.format(ids=_listed(runs))).to_pylist()}
    groups = _grouped(runs, by)
    return [_scaling(group, [rows.get(run.run_id, {}) for run in members], against) for group, members in groups]


def _listed(runs: Iterable[Run]) -> str:
    return ", ".join(f"'{run.run_id}'" for run in runs)


def _grouped(runs: Sequence[Run], by: str | None) -> list[tuple[dict[str, Any], list[Run]]]:
    varied = list(dict.fromkeys(key for run in runs for key in run.factors))
    if by is not None and by not in varied:
        raise UserError(f"--by {by}: the study does not vary it; it varies {', '.join(varied) or 'nothing'}")
    key = by or (VARIANT if VARIANT in varied else None)
    groups: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        group = {key: run.factors.get(key)} if key else {}
        groups.setdefault(repr(group), (group, []))[1].append(run)
    return list(groups.values())


def _scaling(group: dict[str, Any], rows: list[Row], against: Against | None) -> Scaling:
    import numpy as np

    from titans_lab.stats.scaling.fit import fit

    used, others = _sorted(rows)
    variables = _variables(used, against)
    try:
        points = _points(used, variables)
    except ValueError as error:
        raise UserError(_refusal(group, Counter(done=len(used)) + others, str(error))) from error
    found, flops = fit(points), np.array([row["flops"] for row in used], float)
    coefficients = {name: found.interval(measure) for name, measure in _measures(variables).items()}
    return Scaling(
        group=group,
        variables=variables,
        runs=len(used),
        left_out=dict(others),
        coefficients=coefficients,
        optimum=_optimum(found, flops) if variables == BOTH else None,
        residual=float(np.sqrt(np.mean(found.residuals**2))),
        held_out=_held_out(found, flops, variables),
        isoflop=_isoflop(found, flops, coefficients["a"]) if variables == BOTH else None,
        undetermined=coefficients["E"].low < NEGLIGIBLE * points.loss.min(),
    )


def _sorted(rows: list[Row]) -> tuple[list[Row], Counter[str]]:
    """The rows with a loss, and how many others there are, by state."""
    used = [row for row in rows if row.get("state") == "done" and _usable(row)]
    states = Counter(row.get("state", "pending") for row in rows)
    states["done"] -= len(used)
    return used, +states


def _points(rows: list[Row], variables: tuple[str, ...]) -> Points:
    import numpy as np

    from titans_lab.stats.scaling.points import Points, check_enough

    x = np.array([[row[name] for name in variables] for row in rows], float).reshape(len(rows), len(variables))
    points = Points(x, np.array([row["loss"] for row in rows], float), np.arange(len(rows)))
    check_enough(points, variables)
    return points


def _usable(row: Row) -> bool:
    numbers = (row[name] for name in ("loss", *BOTH, "flops"))
    return all(number is not None and 0 < number < float("inf") for number in numbers)


def _variables(rows: list[Row], against: Against | None) -> tuple[str, ...]:
    """What is asked for, else those of parameters and tokens that vary, else parameters, to be refused."""
    assert against is None or against in get_args(Against)
    if against is not None:
        return BOTH if against == "both" else (against,)
    return tuple(name for name in BOTH if len({row[name] for row in rows}) > 1) or BOTH[:1]


def _measures(variables: tuple[str, ...]) -> dict[str, Callable[[Law], float]]:
    from titans_lab.stats.scaling.frontier import parameter_exponent

    measures: dict[str, Callable[[Law], float]] = {"E": lambda law: law.offset}
    for place, (amplitude, exponent) in enumerate((("A", "alpha"), ("B", "beta"))[: len(variables)]):
        measures[amplitude] = lambda law, place=place: law.amplitudes[place]  # type: ignore[misc]
        measures[exponent] = lambda law, place=place: law.exponents[place]  # type: ignore[misc]
    if variables == BOTH:
        measures |= {"a": parameter_exponent, "b": lambda law: 1 - parameter_exponent(law)}
    return measures


def _held_out(found: Fit, flops: Any, variables: tuple[str, ...]) -> HeldOut | None:
    from titans_lab.stats.scaling.checks import held_out

    try:
        return held_out(found.points, flops, variables)
    except ValueError:  # too few points below the largest budget
        return None


def _optimum(found: Fit, flops: Any) -> Optimum:
    import numpy as np

    from titans_lab.stats.interval import Interval
    from titans_lab.stats.scaling.frontier import frontier

    best, budget = frontier(found.law, float(np.median(flops / found.points.x.prod(axis=1)))), 10 * flops.max()
    parameters, tokens = float(best.parameters(budget)), float(best.tokens(budget))
    x = np.array([[parameters, tokens]])
    (low,), (high,) = found.band(x)
    loss = Interval(float(found.law.loss(x)[0]), float(low), float(high))
    return Optimum(float(budget), parameters, tokens, loss)


def _isoflop(found: Fit, flops: Any, exponent: Interval) -> IsoFlop | None:
    from titans_lab.stats.scaling.checks import parabola_exponent, parabolas

    curves = parabolas(found.points.x[:, 0], flops, found.points.loss)
    a = parabola_exponent(curves)
    used = sum(curve.optimum is not None for curve in curves)
    return IsoFlop(a, len(curves), used, a.value in exponent) if a else None


def _refusal(group: dict[str, Any], states: Counter[str], problem: str) -> str:
    name = "".join(f"{key}={value}: " for key, value in group.items())
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return (
        f"{name}{problem} (runs: {told}); vary the model's size, such as model.dim, or train.tokens, or choose what to "
        "fit with --against"
    )
