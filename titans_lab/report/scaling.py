"""Scaling: the loss against parameters, tokens and FLOPs with the fitted law, its residuals, and IsoFLOP parabolas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from titans_lab.report import plot
from titans_lab.report.arms import DASHES, Arm, Design
from titans_lab.report.axis import decades
from titans_lab.report.data import Material
from titans_lab.report.format import short
from titans_lab.report.laws import STATEMENT, Drawn, Laws, answer, laws, table
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Section, of_figure
from titans_lab.scaling import fitted
from titans_lab.scaling.fitting import BOTH

if TYPE_CHECKING:
    import numpy as np

    from titans_lab.stats.scaling.checks import Parabola
    from titans_lab.stats.scaling.fit import Fit

POINTS = 48  # points of a curve
BEYOND = 1.3  # factor by which curves extend beyond the measured range to either side
MOST_LINES = 6  # the most lines of a law, at different values of its other variable
LATER = 10.0  # the frontier is drawn up to so many times the largest budget
BUILT = (
    "Fitted as loss = E + A / parameters^alpha + B / tokens^beta, or one term of it: the sum of Huber's losses of log "
    "residuals from Chinchilla's grid of starts (arXiv 2203.15556, approach 3; 2404.10102 for the sum). Intervals are "
    "95 % percentiles of a bootstrap over whole runs. Parameters include the embedding and the output projection."
)
#: A law's variable, and the heading of its figure.
AXES = {"parameters": "parameters", "tokens": "training tokens", "flops": "training FLOPs"}


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Yield the laws of a study that varies sizes or budgets as a table, then each figure."""
    found = laws(material, design)
    if found is None:
        return
    if not found.drawn:
        yield Section(
            "scaling", "Scaling", (STATEMENT,), nothing=f"No law can be fitted yet: {'; '.join(found.refused)}."
        )
        return
    more = f" No law for {'; '.join(found.refused)}." if found.refused else ""
    yield Section("scaling", "Scaling", (STATEMENT,), BUILT + more, table=table(found), answer=answer(found))
    for variable in AXES:
        if figure := _against(variable, found, material):
            yield of_figure(figure)
    yield of_figure(_residuals(found))
    if figure := _isoflop(found, material):
        yield of_figure(figure)


def _against(variable: str, found: Laws, material: Material) -> Figure | None:
    """Return every run and the laws as functions of `variable`; None if it does not vary."""
    if len({row[variable] for each in found.drawn for row in each.law.rows}) < 2:
        return None
    curves = [curve for each in found.drawn for curve in CURVES[variable](each)]
    dots = list(_dots(found, lambda row, _: row[variable], lambda row, _: row["loss"]))
    return Figure(
        name=f"scaling-{variable}",
        title=f"Loss against {AXES[variable]}",
        caption=READINGS[variable],
        alt=f"Scatter plot of the final loss against {AXES[variable]} on logarithmic axes, with the fitted laws.",
        traces=[*curves, *dots],
        layout=plot.layout(
            {"title": AXES[variable]} | decades(_drawn([*curves, *dots], "x")),
            {"title": f"final {material.loss.label}"} | decades(_drawn([*curves, *dots], "y")),
        ),
        queries=(STATEMENT,),
    )


def _drawn(traces: Sequence[Json], axis: str) -> list[float]:
    return [value for trace in traces for value in trace[axis]]


READINGS = {
    "parameters": "Every run, and the law at the training tokens of the runs. Bands are 95 % prediction intervals for "
    "a new run: percentiles over the resampled laws, each with a randomly drawn residual.",
    "tokens": "Every run, and the law at the sizes of the runs, with 95 % prediction bands.",
    "flops": "Every run, and the lowest loss that the law predicts for a budget, up to ten times the largest one, with "
    "the prediction band of a run of the optimal size. A law in one variable is refitted in FLOPs.",
}


def _dots(found: Laws, x: Callable[[Any, int], float], y: Callable[[Any, int], float]) -> Iterator[Json]:
    """Yield every run in its arm's colour, by its row and its place in the fit."""
    for each in found.drawn:
        rows = {row["run_id"]: (row, place) for place, row in enumerate(each.law.rows)}
        for arm in each.arms:
            mine = [(one, *rows[one.run.run_id]) for one in arm.outcomes if one.run.run_id in rows]
            hover = [
                f"{arm.label}, seed {one.run.seed}: {row['loss']:.4g} at {short(row['parameters'])} parameters, "
                f"{short(row['tokens'])} tokens, {short(row['flops'])} FLOPs"
                for one, row, _ in mine
            ]
            xs, ys = ([by(row, place) for _, row, place in mine] for by in (x, y))
            yield plot.dots(arm, xs, ys, hover)


def _slices(each: Drawn, variable: int, other: str) -> Iterator[Json]:
    """Yield a law along one variable, at measured values of the other."""
    import numpy as np

    fit, name = each.law.fit, BOTH[variable]
    if name not in each.law.variables:
        return
    along = fit.points.x[:, each.law.variables.index(name)]
    x = np.geomspace(along.min() / BEYOND, along.max() * BEYOND, POINTS)
    if each.law.variables != BOTH:
        yield from _curve(fit, x, x[:, None], each.name or "law", _look(each))
        return
    for value in _some(sorted({row[other] for row in each.law.rows})):
        fixed = np.full(POINTS, float(value))
        pair = np.stack([x, fixed] if variable == 0 else [fixed, x], axis=1)
        ids = {row["run_id"] for row in each.law.rows if row[other] == value}
        arms = [arm for arm in each.arms if any(outcome.run.run_id in ids for outcome in arm.outcomes)]
        yield from _curve(fit, x, pair, f"{each.name} law at {short(value)} {other}".strip(), _look(each, arms))


def _by_flops(each: Drawn) -> Iterator[Json]:
    import numpy as np

    from titans_lab.stats.scaling.frontier import frontier

    flops = each.law.flops
    x = np.geomspace(flops.min() / BEYOND, flops.max() * LATER, POINTS)
    if each.law.variables == BOTH:
        best = frontier(each.law.fit.law, each.law.cost)
        pair = np.stack([best.parameters(x), best.tokens(x)], axis=1)
        yield from _curve(each.law.fit, x, pair, f"{each.name} compute-optimal".strip(), _look(each), legend=True)
        return
    law = fitted(each.law.group, list(each.law.rows), "flops").fit
    yield from _curve(law, x, x[:, None], each.name or "law", _look(each), legend=True)


def _curve(fit: Fit, x: np.ndarray, at: np.ndarray, name: str, look: Json, legend: bool = False) -> Iterator[Json]:
    """Yield a law at the points `at`, drawn along `x`, with its prediction band."""
    values = (fit.law.loss(at), *fit.band(at))
    places, (loss, low, high) = rounded(x.tolist()), (rounded(each.tolist()) for each in values)
    yield plot.area(look["color"], places, low, high)
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": plot.text(name),
        "x": places,
        "y": loss,
        "line": look,
        "customdata": list(zip(low, high, strict=True)),
        "hovertemplate": f"{plot.text(name)}<br>%{{x:.3~s}}: %{{y:.4g}} (a run: %{{customdata[0]:.4g}} to "
        "%{customdata[1]:.4g})<extra></extra>",
        "showlegend": legend,
    }


CURVES: dict[str, Callable[[Drawn], Iterator[Json]]] = {
    "parameters": lambda each: _slices(each, 0, "tokens"),
    "tokens": lambda each: _slices(each, 1, "parameters"),
    "flops": _by_flops,
}


def _some(values: list[Any]) -> list[Any]:
    """Return at most `MOST_LINES` of the values, with the first and the last."""
    if len(values) <= MOST_LINES:
        return values
    return [values[round(place * (len(values) - 1) / (MOST_LINES - 1))] for place in range(MOST_LINES)]


def _look(each: Drawn, arms: Sequence[Arm] | None = None) -> Json:
    """Return the line of a law: in the colour that its arms share, if they do, and dashed by law."""
    shades = {plot.colour(arm) for arm in arms or each.arms}
    shade = shades.pop() if len(shades) == 1 else plot.MUTED
    return {"color": shade, "dash": DASHES[each.place % len(DASHES)], "width": 1.8}


def _residuals(found: Laws) -> Figure:
    residuals = {id(each.law.rows): each.law.fit.residuals for each in found.drawn}
    by_run = {
        row["run_id"]: float(value)
        for each in found.drawn
        for row, value in zip(each.law.rows, residuals[id(each.law.rows)], strict=True)
    }
    return Figure(
        name="scaling-residuals",
        title="Residuals of the law",
        caption="The logarithm of measured over fitted loss of every run, roughly the relative error. A trend means "
        "that the law has the wrong shape, which the intervals do not account for.",
        alt="Scatter plot of the residuals of the fitted laws against training FLOPs.",
        traces=list(_dots(found, lambda row, _: row["flops"], lambda row, _: rounded([by_run[row["run_id"]]])[0])),
        layout=plot.layout(
            {"title": AXES["flops"]} | decades([row["flops"] for each in found.drawn for row in each.law.rows]),
            {
                "title": "log (measured / fitted)",
                "tickformat": "+.1~%",
                "zeroline": True,
                "zerolinecolor": plot.MUTED,
            },
            height=280,
        ),
        queries=(STATEMENT,),
    )


def _isoflop(found: Laws, material: Material) -> Figure | None:
    from titans_lab.stats.scaling.checks import parabolas

    curves = [
        (each, parabola)
        for each in found.drawn
        if each.law.variables == BOTH
        for parabola in parabolas(each.law.fit.points.x[:, 0], each.law.flops, each.law.fit.points.loss)
    ]
    if not curves:
        return None
    verdicts = [each.found.isoflop.agrees for each in found.drawn if each.found.isoflop]
    flag = "" if all(verdicts) else " The two exponents DISAGREE: see the table."
    return Figure(
        name="scaling-isoflop",
        title="IsoFLOP parabolas",
        caption="Loss against parameters at each budget of FLOPs with three sizes or more, and the parabola through "
        "them (arXiv 2203.15556, approach 2). A star is its lowest point, left out where that is at the edge of the "
        "grid; a cross is the law's best size for the budget. Parabolas are biased even without noise, so they only "
        f"check the law.{flag}",
        alt="Line plot of the loss against parameters, a parabola for every budget of FLOPs.",
        traces=[
            *(trace for each, parabola in curves for trace in _parabola(each, parabola)),
            *_dots(found, lambda row, _: row["parameters"], lambda row, _: row["loss"]),
        ],
        layout=plot.layout(
            {"title": AXES["parameters"]}
            | decades([row["parameters"] for each in found.drawn for row in each.law.rows]),
            {"title": f"final {material.loss.label}"},
        ),
        queries=(STATEMENT,),
    )


def _parabola(each: Drawn, curve: Parabola) -> Iterator[Json]:
    import numpy as np

    from titans_lab.stats.scaling.frontier import frontier

    shade, words = _look(each)["color"], f"{each.name} {short(curve.budget)} FLOPs".strip()
    x = np.geomspace(*curve.range, POINTS)
    line = {"type": "scatter", "mode": "lines", "line": {"color": shade, "width": 1.5, "dash": "dot"}}
    hover = {"hovertemplate": f"{plot.text(words)}: %{{y:.4g}} at %{{x:.3~s}}<extra></extra>", "showlegend": False}
    yield line | hover | {"x": rounded(x.tolist()), "y": rounded(curve.loss(x).tolist())}
    best = float(frontier(each.law.fit.law, each.law.cost).parameters(np.array(curve.budget)))
    law = float(each.law.fit.law.loss(np.array([[best, curve.budget / (each.law.cost * best)]]))[0])
    marks = [("x-thin", best, law)] if curve.range[0] <= best <= curve.range[1] else []
    if curve.optimum is not None:
        marks += [("star", curve.optimum, float(curve.loss(np.array(curve.optimum))))]
    for symbol, at, loss in marks:
        mark = {"symbol": symbol, "size": 12, "color": shade, "line": {"color": shade, "width": 2}}
        place = {"type": "scatter", "mode": "markers", "marker": mark}
        yield place | hover | {"x": rounded([at]), "y": rounded([loss])}
