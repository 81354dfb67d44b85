"""What a search tried: its history, which parameters mattered, slices through them, and the front of two objectives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from titans_lab.report import plot
from titans_lab.report.arms import DASHES, PALETTE, SYMBOLS, Design, spell
from titans_lab.report.axis import LOG_FROM
from titans_lab.report.evidence import listed
from titans_lab.report.format import NONE, plural, score
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Row, Section, Table, of_figure
from titans_lab.stats.importance import BINS, importance
from titans_lab.stats.pareto import front

if TYPE_CHECKING:
    from titans_lab.report.data import Material

STATEMENT = "trials"
SQL = """\
select search, arm, number, origin, state, feasible, params, value, objectives, direction, directions, metric
from trials
where concat(search, '/', number) in ({trials})
order by search, number"""
BEST = 10  # trials of the table
FEWEST = 8  # trials with a value, to say which parameter mattered


@dataclass(frozen=True)
class Trial:
    """A row of the view `trials`."""

    number: int
    state: str
    origin: str
    feasible: bool
    params: dict[str, Any]
    value: float | None
    objectives: dict[str, float]


@dataclass(frozen=True)
class Search:
    """The trials of an arm.

    Attributes:
        name: Of the arm; empty where it is the only one.
        place: Among the searches, from 0: its colour.
        metric: Name of the first objective.
        directions: "min" or "max", of each objective by name.
        trials: In order.
    """

    name: str
    place: int
    metric: str
    directions: dict[str, str]
    trials: tuple[Trial, ...]

    @property
    def colour(self) -> str:
        """Of everything that stands for it."""
        return PALETTE[self.place % len(PALETTE)][0]

    @property
    def sign(self) -> int:
        """What the first objective is multiplied by so that less is better."""
        return 1 if self.directions[self.metric] == "min" else -1

    @property
    def valued(self) -> list[Trial]:
        """Those that are done, with a value."""
        return [trial for trial in self.trials if trial.state == "done" and trial.value is not None]


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Of each search of the study; none where it has none."""
    trials = material.study.pinned.trials
    if not trials:
        return
    rows = material.evidence.ask(STATEMENT, SQL.format(trials=listed(trials)))
    found = [_search(place, [row for row in rows if row["search"] == name]) for place, name in enumerate(_names(rows))]
    yield _history(found)
    if any(_importances(search) for search in found):
        yield of_figure(_importance(found))
    yield of_figure(_slices(found))
    if several := [search for search in found if len(search.directions) > 1]:
        axes = list(several[0].directions)[:2]
        yield of_figure(_fronts([search for search in several if list(search.directions)[:2] == axes]))


def _names(rows: Sequence[Json]) -> list[str]:
    return list(dict.fromkeys(row["search"] for row in rows))


def _search(place: int, rows: Sequence[Json]) -> Search:
    first = rows[0]
    trials = tuple(
        Trial(
            row["number"],
            row["state"],
            row["origin"] or "",
            bool(row["feasible"]),
            json.loads(row["params"]),
            row["value"],
            json.loads(row["objectives"]),
        )
        for row in rows
    )
    return Search(first["arm"] or "", place, first["metric"], json.loads(first["directions"]), trials)


def _history(found: Sequence[Search]) -> Section:
    figure = Figure(
        name="search-history",
        title="Search: history",
        caption="Every trial that came to a value, in the order in which they were asked for: a dot for one that is "
        "done, a cross for one that was stopped early or diverged, at what there was of it. The line is the best "
        "feasible value so far: the best of many noisy values looks better than it is, which is why finalists run "
        "again with fresh seeds.",
        alt="Scatter plot of the value of every trial in order, with the best so far as a line.",
        traces=[trace for search in found for trace in _order(search, len(found) > 1)],
        layout=plot.layout({"title": "trial", "rangemode": "tozero"}, {"title": _metrics(found)}),
        queries=(STATEMENT,),
    )
    rows = [row for search in found for row in _best(search)]
    names = list(dict.fromkeys(key for search in found for trial in search.trials for key in trial.params))
    cells = [
        Row(heads, (*_params(trial, names), score(trial.value), trial.origin), colour) for heads, trial, colour in rows
    ]
    table = Table(("search", "trial"), (*names, _metrics(found), "proposed by"), tuple(cells), words=("proposed by",))
    told = "; ".join(f"{search.name or 'the search'}: {_states(search)}" for search in found)
    caption = f"{figure.caption} Trials: {told}. The table has the {BEST} best of each."
    return Section(figure.name, figure.title, figure.queries, caption, figure, table)


def _metrics(found: Sequence[Search]) -> str:
    return " or ".join(dict.fromkeys(search.metric for search in found))


def _states(search: Search) -> str:
    states = [trial.state for trial in search.trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _best(search: Search) -> Iterator[tuple[tuple[str, str], Trial, int]]:
    ordered = sorted(search.valued, key=lambda trial: (not trial.feasible, search.sign * (trial.value or 0.0)))
    for trial in ordered[:BEST]:
        yield (search.name or "all", str(trial.number)), trial, search.place % len(PALETTE)


def _params(trial: Trial, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(spell(trial.params[name]) if name in trial.params else NONE for name in names)


def _order(search: Search, legend: bool) -> Iterator[Json]:
    ended = [trial for trial in search.trials if trial.value is not None]
    feasible = [trial for trial in ended if trial.feasible]
    best = accumulate((search.sign * (trial.value or 0.0) for trial in feasible), min)
    yield _dots(search, ended, [trial.number for trial in ended], [trial.value for trial in ended], legend)
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": [trial.number for trial in feasible],
        "y": rounded(search.sign * value for value in best),
        "line": {"color": search.colour, "shape": "hv", "width": 1.5, "dash": DASHES[search.place % len(DASHES)]},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _dots(search: Search, trials: Sequence[Trial], x: Sequence[Any], y: Sequence[Any], legend: bool) -> Json:
    symbol = SYMBOLS[search.place % len(SYMBOLS)]
    symbols = [symbol if trial.state == "done" else "x-thin" for trial in trials]
    edge = {"color": search.colour, "width": [0 if trial.state == "done" else 2 for trial in trials]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plot.text(search.name or "trials"),
        "x": list(x),
        "y": list(y),
        "text": [plot.text(_told(search, trial)) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": search.colour, "symbol": symbols, "size": 8, "opacity": 0.8, "line": edge},
        "showlegend": legend,
    }


def _told(search: Search, trial: Trial) -> str:
    values = ", ".join(f"{name} {spell(value)}" for name, value in trial.params.items())
    who = f"{search.name}, trial" if search.name else "trial"
    bound = "" if trial.feasible or trial.state != "done" else ", over a bound"
    return f"{who} {trial.number}, {trial.state}{bound}: {score(trial.value)} ({values})"


def _importances(search: Search) -> dict[str, float]:
    """Of every parameter that all done trials have and that varied, the largest first."""
    trials = search.valued
    if len(trials) < FEWEST:
        return {}
    names = [name for name in trials[0].params if all(name in trial.params for trial in trials)]
    scores = [trial.value or 0.0 for trial in trials]
    found = {name: importance([trial.params[name] for trial in trials], scores) for name in names}
    known = {name: value for name, value in found.items() if value is not None}
    return dict(sorted(known.items(), key=lambda pair: -pair[1]))


def _importance(found: Sequence[Search]) -> Figure:
    names = list(dict.fromkeys(name for search in found for name in _importances(search)))
    return Figure(
        name="search-importance",
        title="Search: which parameters mattered",
        caption="Of each parameter the share of the variance of the trials' ranks that lies between groups of its "
        f"values (epsilon squared; numbers in {BINS} quantiles): 0 for one that does nothing, 1 for one that decides "
        "alone. What two parameters do together is not in it, and a sampler that looks where it is good sees less of "
        f"the rest. Over {', '.join(plural(len(search.valued), 'done trial') for search in found)}.",
        alt="Bar chart of the share of variance that each parameter explains.",
        traces=[_bars(search, len(found) > 1) for search in found],
        layout=plot.layout(
            {"title": "share of the variance of ranks", "range": (0, 1)},
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


def _bars(search: Search, legend: bool) -> Json:
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


def _slices(found: Sequence[Search]) -> Figure:
    names = list(dict.fromkeys(key for search in found for trial in search.valued for key in trial.params)) or [""]
    axes = [_slice(name, found) for name in names]
    traces = [
        _dots(search, search.valued, places, [trial.value for trial in search.valued], len(found) > 1)
        for search, places in zip(found, axes[0]["places"], strict=True)
    ]
    return Figure(
        name="search-slices",
        title="Search: slices",
        caption="Every done trial by its value of one parameter, which is chosen above the figure; the others differ "
        "from dot to dot.",
        alt="Scatter plot of the trials' values against one parameter, which can be chosen.",
        traces=traces,
        layout=plot.layout({"title": axes[0]["title"], "type": axes[0]["type"]}, {"title": _metrics(found)}),
        queries=(STATEMENT,),
        controls={"x": axes},
    )


def _slice(name: str, found: Sequence[Search]) -> Json:
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


def _fronts(found: Sequence[Search]) -> Figure:
    first, second = list(found[0].directions)[:2]
    return Figure(
        name="search-front",
        title=f"Search: {first} against {second}",
        caption="Every done trial by its first two objectives; the line joins the feasible trials that no other is at "
        "least as good as in both and better in one.",
        alt=f"Scatter plot of {first} against {second} of all done trials, with Pareto's front.",
        traces=[trace for search in found for trace in _front(search, first, second, len(found) > 1)],
        layout=plot.layout({"title": second}, {"title": first}),
        queries=(STATEMENT,),
    )


def _front(search: Search, first: str, second: str, legend: bool) -> Iterator[Json]:
    trials = [trial for trial in search.valued if {first, second} <= trial.objectives.keys()]
    pairs = [(trial.objectives[second], trial.objectives[first]) for trial in trials]
    yield _dots(search, trials, [x for x, _ in pairs], [y for _, y in pairs], legend)
    signs = [1 if search.directions.get(name) == "min" else -1 for name in (second, first)]
    kept = [pair for pair, trial in zip(pairs, trials, strict=True) if trial.feasible]
    best = [kept[index] for index in front([(signs[0] * x, signs[1] * y) for x, y in kept])]
    line = {"color": search.colour, "width": 1.5, "shape": "hv" if signs[0] > 0 else "vh"}
    ordered = sorted(best)
    places = {"x": [x for x, _ in ordered], "y": [y for _, y in ordered]}
    yield {"type": "scatter", "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False} | places
