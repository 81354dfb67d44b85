"""Scaling laws through the runs of a study, from what the store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from titans_lab.errors import UserError
from titans_lab.scaling.found import Fitted, IsoFlop, Optimum, Row, Scaling

if TYPE_CHECKING:
    from titans_lab.run.run import Run
    from titans_lab.stats.interval import Interval
    from titans_lab.stats.scaling.checks import HeldOut
    from titans_lab.stats.scaling.fit import Fit
    from titans_lab.stats.scaling.law import Law
    from titans_lab.stats.scaling.points import Points

Against = Literal["parameters", "tokens", "flops", "both"]
BOTH = ("parameters", "tokens")
VARIANT = "model.variant"
NEGLIGIBLE = 0.01  # share of the lowest loss; an offset E whose interval reaches below it is not determined
SQL = """\
select run_id, state, loss, parameters, tokens, flops_per_token * tokens as flops
from runs
where run_id in ({ids})
order by run_id"""


def scalings(runs: Sequence[Run], root: Path, against: Against | None = None, by: str | None = None) -> list[Scaling]:
    """Return a law for each value of the varied key `by`, else for each variant.

    Args:
        runs: The runs of a study.
        root: The root of the store.
        against: The variables of the law. None: parameters and tokens, as far as they vary.
        by: A dotted key of the study.

    Raises:
        UserError: The runs do not determine a law; no such key.
    """
    from titans_lab.store.query import query

    rows = {row["run_id"]: row for row in query(root, sql(runs)).to_pylist()}
    groups = _grouped(runs, by)
    return [scaling(fitted(group, [rows.get(run.run_id, {}) for run in members], against)) for group, members in groups]


def sql(runs: Iterable[Run]) -> str:
    """Return the statement that a fit reads the store by."""
    return SQL.format(ids=", ".join(f"'{run.run_id}'" for run in runs))


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


def fitted(group: dict[str, Any], rows: list[Row], against: Against | None = None) -> Fitted:
    """Fit a law through rows of `SQL` ({} for a run that was never started); UserError if they do not determine one."""
    from titans_lab.stats.scaling.fit import fit

    used, others = _sorted(rows)
    variables = _variables(used, against)
    try:
        points = _points(used, variables)
    except ValueError as error:
        raise UserError(_refusal(group, Counter(done=len(used)) + others, str(error))) from error
    law = fit(points)
    if law.open_exponents:
        raise UserError(_refusal(group, Counter(done=len(used)) + others, _unidentified(points, variables, law)))
    return Fitted(group, variables, tuple(used), dict(others), law)


def _unidentified(points: Points, variables: tuple[str, ...], law: Fit) -> str:
    """Return that runs leave the shape of a law open, and how few values there are."""
    import numpy as np

    sizes = " and ".join(f"{len(np.unique(x))} values of {name}" for name, x in zip(variables, points.x.T, strict=True))
    spans = " and ".join(f"{each.low:.2g} to {each.high:.2g}" for each in law.open_exponents)
    return f"the law is not identified: with {sizes} an exponent lies anywhere in {spans}"


def scaling(found: Fitted) -> Scaling:
    """Return a law's coefficients and checks."""
    import numpy as np

    variables, law = found.variables, found.fit
    coefficients = {name: law.interval(measure) for name, measure in _measures(variables).items()}
    return Scaling(
        group=found.group,
        variables=variables,
        runs=len(found.rows),
        left_out=found.left_out,
        coefficients=coefficients,
        optimum=_optimum(found) if variables == BOTH else None,
        residual=float(np.sqrt(np.mean(law.residuals**2))),
        held_out=_held_out(found),
        isoflop=_isoflop(found, coefficients["a"]) if variables == BOTH else None,
        undetermined=coefficients["E"].low < NEGLIGIBLE * law.points.loss.min(),
    )


def _sorted(rows: list[Row]) -> tuple[list[Row], Counter[str]]:
    """Return the rows with a loss, and the number of others by state."""
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
    """Return the variables asked for, else those of parameters and tokens that vary, else parameters, to be refused."""
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


def _held_out(found: Fitted) -> HeldOut | None:
    from titans_lab.stats.scaling.checks import held_out

    try:
        return held_out(found.fit.points, found.flops, found.variables)
    except ValueError:  # too few points below the largest budget
        return None


def _optimum(found: Fitted) -> Optimum:
    import numpy as np

    from titans_lab.stats.interval import Interval
    from titans_lab.stats.scaling.frontier import frontier

    best, budget = frontier(found.fit.law, found.cost), 10 * found.flops.max()
    parameters, tokens = float(best.parameters(budget)), float(best.tokens(budget))
    x = np.array([[parameters, tokens]])
    (low,), (high,) = found.fit.band(x)
    loss = Interval(float(found.fit.law.loss(x)[0]), float(low), float(high))
    return Optimum(float(budget), parameters, tokens, loss)


def _isoflop(found: Fitted, exponent: Interval) -> IsoFlop | None:
    from titans_lab.stats.scaling.checks import parabola_exponent, parabolas

    curves = parabolas(found.fit.points.x[:, 0], found.flops, found.fit.points.loss)
    a = parabola_exponent(curves)
    used = sum(curve.optimum is not None for curve in curves)
    return IsoFlop(a, len(curves), used, a.value in exponent) if a else None


def _refusal(group: dict[str, Any], states: Counter[str], problem: str) -> str:
    name = "".join(f"{key}={value}: " for key, value in group.items())
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return (
        f"{name}{problem} (runs: {counts}); vary the model's size, such as model.dim, or train.tokens, or choose what "
        "to fit with --against"
    )
