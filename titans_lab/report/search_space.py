"""The dependence of a search's values on its parameters: importance, slices, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import spell
from titans_lab.report.axis import LOG_FROM
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Section, of_figure
from titans_lab.report.trials import STATEMENT, SearchTrials, dots, metrics
from titans_lab.stats.importance import BINS, importances
from titans_lab.stats.pareto import front


def sections(found: Sequence[SearchTrials]) -> Iterator[Section]:
    """Yield the figures of all searches of a study together."""
    if any(_importances(search) for search in found):
        yield of_figure(_importance(found))
    yield of_figure(_slices(found))
    if several := [search for search in found if len(search.directions) > 1]:
        axes = list(several[0].directions)[:2]
        yield of_figure(_fronts([search for search in several if list(search.directions)[:2] == axes]))


def _importances(search: SearchTrials) -> dict[str, float]:
    return importances([trial.params for trial in search.valued], [trial.value or 0.0 for trial in search.valued])


def _importance(found: Sequence[SearchTrials]) -> Figure:
    names = list(dict.fromkeys(name for search in found for name in _importances(search)))
    return Figure(
        name="search-importance",
        title="Search: parameter importance",
        caption="Share of rank variance: how much of the variance of the trials' ranks lies between groups of a "
        f"parameter's values (epsilon squared; numbers are grouped into {BINS} quantiles). 0 means no effect, 1 that "
        "the parameter decides alone. Interactions are not included, and a sampler that concentrates on good values "
        f"sees less of the others. Over {', '.join(plural(len(search.valued), 'finished trial') for search in found)}.",
        alt="Bar chart of the share of variance that each parameter explains.",
        traces=[_bars(search, len(found) > 1) for search in found],
        layout=plot.layout(
            {"title": "share of rank variance", "range": (0, 1)},
            {
                "title": "",
                "type": "category",
                "categoryarray": names[::-1],
                "categoryorder": "array",
                "showgrid": False,
            },
            height=110 + 36 * len(names) * len(found),
        ),
        queries=(STATEMENT,),
    )


def _bars(search: SearchTrials, legend: bool) -> Json:
    found = _importances(search)
    return {
        "type": "bar",
        "orientation": "h",
        "name": plot.text(search.name or "trials"),
        "x": rounded(found.values()),
        "y": list(found),
        "marker": {"color": search.colour},
        "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
        "showlegend": legend,
    }


def _slices(found: Sequence[SearchTrials]) -> Figure:
    names = list(dict.fromkeys(key for search in found for trial in search.valued for key in trial.params)) or [""]
    axes = [_slice(name, found) for name in names]
    traces = [
        dots(search, search.valued, places, [trial.value for trial in search.valued], len(found) > 1)
        for search, places in zip(found, axes[0]["places"], strict=True)
    ]
    return Figure(
        name="search-slices",
        title="Search: slices",
        caption="Every finished trial by its value of one parameter, which can be chosen above the figure. The other "
        "parameters differ from dot to dot.",
        alt="Scatter plot of the trials' values against one parameter, which can be chosen.",
        traces=traces,
        layout=plot.layout({"title": axes[0]["title"], "type": axes[0]["type"]}, {"title": metrics(found)}),
        queries=(STATEMENT,),
        controls={"x": axes},
    )


def _slice(name: str, found: Sequence[SearchTrials]) -> Json:
    places = [[trial.params.get(name) for trial in search.valued] for search in found]
    known = [value for each in places for value in each if value is not None]
    kind = _axis_type(known)
    if kind == "category":
        places = [[None if value is None else spell(value) for value in each] for each in places]
    return {"name": name, "title": name, "type": kind, "places": places}


def _axis_type(values: Sequence[Any]) -> str:
    if not values or not all(type(value) in (int, float) for value in values):
        return "category"
    return "log" if min(values) > 0 and max(values) / min(values) >= LOG_FROM else "linear"


def _fronts(found: Sequence[SearchTrials]) -> Figure:
    first, second = list(found[0].directions)[:2]
    return Figure(
        name="search-front",
        title=f"Search: {first} against {second}",
        caption="Every finished trial by its first two objectives. The line is the Pareto front of the feasible ones.",
        alt=f"Scatter plot of {first} against {second} of all done trials, with Pareto's front.",
        traces=[trace for search in found for trace in _front(search, first, second, len(found) > 1)],
        layout=plot.layout({"title": second}, {"title": first}),
        queries=(STATEMENT,),
    )


def _front(search: SearchTrials, first: str, second: str, legend: bool) -> Iterator[Json]:
    trials = [trial for trial in search.valued if {first, second} <= trial.objectives.keys()]
    pairs = [(trial.objectives[second], trial.objectives[first]) for trial in trials]
    yield dots(search, trials, [x for x, _ in pairs], [y for _, y in pairs], legend)
    signs = [1 if search.directions.get(name) == "minimize" else -1 for name in (second, first)]
    kept = [pair for pair, trial in zip(pairs, trials, strict=True) if trial.feasible]
    best = [kept[index] for index in front([(signs[0] * x, signs[1] * y) for x, y in kept])]
    line = {"color": search.colour, "width": 1.5, "shape": "hv" if signs[0] > 0 else "vh"}
    ordered = sorted(best)
    places = {"x": [x for x, _ in ordered], "y": [y for _, y in ordered]}
    yield {"type": "scatter", "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False} | places
