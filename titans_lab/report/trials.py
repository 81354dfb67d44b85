"""The trials of a search as the store has them, and their dots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titans_lab.report import plot
from titans_lab.report.arms import PALETTE, SYMBOLS, spell
from titans_lab.report.evidence import quoted
from titans_lab.report.format import NONE, score
from titans_lab.report.plot import Json
from titans_lab.report.section import TableCell

if TYPE_CHECKING:
    from titans_lab.report.data import Material

STATEMENT = "trials"
SQL = """\
select search, arm, number, origin, state, feasible, params, value, objectives, direction, directions, metric
from trials
where study = {study} and {by_then}
order by search, number"""
VALUELESS = ("diverged", "oom", "failed")  # states of trials that were begun and came to nothing


@dataclass(frozen=True)
class TrialRow:
    """A row of the view `trials`."""

    number: int
    state: str
    origin: str
    feasible: bool
    params: dict[str, Any]
    value: float | None
    objectives: dict[str, float]


@dataclass(frozen=True)
class SearchTrials:
    """The trials of an arm.

    Attributes:
        name: The name of the arm; empty where it is the only one.
        place: Among the searches, from 0: its colour.
        metric: Name of the first objective.
        directions: "minimize" or "maximize", of each objective by name.
        trials: The trials, in the order of their numbers.
    """

    name: str
    place: int
    metric: str
    directions: dict[str, str]
    trials: tuple[TrialRow, ...]

    @property
    def colour(self) -> str:
        """Return the search's colour."""
        return PALETTE[self.place % len(PALETTE)][0]

    @property
    def sign(self) -> int:
        """Return the factor of the first objective that makes lower values better."""
        return 1 if self.directions[self.metric] == "minimize" else -1

    @property
    def valued(self) -> list[TrialRow]:
        """Return the finished trials with a value."""
        return [trial for trial in self.trials if trial.state == "done" and trial.value is not None]


def searches(material: Material) -> list[SearchTrials]:
    """Return the searches of the study."""
    study, by_then = quoted(material.study.family), material.by_then("started")
    rows = material.evidence.ask(STATEMENT, SQL.format(study=study, by_then=by_then))
    names = dict.fromkeys(row["search"] for row in rows)
    return [_search(place, [row for row in rows if row["search"] == name]) for place, name in enumerate(names)]


def _search(place: int, rows: Sequence[Json]) -> SearchTrials:
    first = rows[0]
    trials = tuple(
        TrialRow(
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
    return SearchTrials(first["arm"] or "", place, first["metric"], json.loads(first["directions"]), trials)


def metrics(found: Sequence[SearchTrials]) -> str:
    """Return the names of the first objectives."""
    return " or ".join(dict.fromkeys(search.metric for search in found))


def params(values: Mapping[str, Any], names: Sequence[str]) -> tuple[TableCell, ...]:
    """Return a cell for each parameter, by its dotted key."""
    return tuple(TableCell(spell(values[key]) if key in values else NONE, **{key: values.get(key)}) for key in names)


def dots(search: SearchTrials, trials: Sequence[TrialRow], x: Sequence[Any], y: Sequence[Any], legend: bool) -> Json:
    """Return one dot per trial, or a cross for a trial that did not finish."""
    symbol = SYMBOLS[search.place % len(SYMBOLS)]
    crosses = {"done": symbol} | dict.fromkeys(VALUELESS, "x")
    symbols = [crosses.get(trial.state, "x-thin") for trial in trials]
    edge = {"color": search.colour, "width": [0 if trial.state == "done" else 2 for trial in trials]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plot.text(search.name or "trials"),
        "x": list(x),
        "y": list(y),
        "text": [plot.text(hover_text(search, trial)) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": search.colour, "symbol": symbols, "size": 8, "opacity": 0.8, "line": edge},
        "showlegend": legend,
    }


def hover_text(search: SearchTrials, trial: TrialRow) -> str:
    """Return a trial's hover text."""
    values = ", ".join(f"{name} {spell(value)}" for name, value in trial.params.items())
    who = f"{search.name}, trial" if search.name else "trial"
    bound = "" if trial.feasible or trial.state != "done" else ", over a bound"
    return f"{who} {trial.number}, {trial.state}{bound}: {score(trial.value)} ({values})"
