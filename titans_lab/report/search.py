"""The history of a search and its best trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from titans_lab.quantities import plural
from titans_lab.report import finalists, plot, search_space
from titans_lab.report.arms import DASHES, PALETTE, Design, spell
from titans_lab.report.format import score
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Row, Section, Table, cell
from titans_lab.report.trials import STATEMENT, VALUELESS, SearchTrials, TrialRow, dots, metrics, params, searches
from titans_lab.run.config import flatten, plain

if TYPE_CHECKING:
    from titans_lab.report.data import Material

BEST = 10  # the number of trials in the table


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Yield the sections about the searches of the study."""
    found = searches(material)
    if found:
        if last := finalists.section(material):
            yield last
        yield _history(found, tested=material.study.tuned or last is not None)
        yield from search_space.sections(found)


def progress(material: Material) -> str:
    """Return how many trials of each search are in each state; "" where the study has no trials."""
    found = searches(material)
    return (
        f"Trials: {'; '.join(f'{search.name}: {_states(search)}'.lstrip(': ') for search in found)}." if found else ""
    )


def chosen(material: Material, design: Design) -> str:
    """Return the values that the search of each arm chose, in one sentence; "" where the arms were not tuned."""
    if not material.study.tuned:
        return ""
    keys = list(dict.fromkeys(key for each in searches(material) for trial in each.trials for key in trial.params))
    points = []
    for arm in design.arms:
        config = dict(flatten(plain(arm.outcomes[0].run.config)))
        points.append(f"{arm.label}: {', '.join(f'{key} {spell(config[key])}' for key in keys if key in config)}")
    return f"Each arm is at the best point of its own search. {'; '.join(points)}." if keys else ""


def _best_of(search: SearchTrials, tested: bool) -> str:
    where, tried = f"{search.name}: " if search.name else "", plural(len(search.trials), "trial")
    best = next((trial for _, trial, _ in _best(search) if trial.feasible), None)
    if best is None:
        return f"{where}None of {tried} has a {search.metric} within the bounds."
    values = ", ".join(f"{name} {spell(value)}" for name, value in best.params.items())
    untested = "" if tested else "; fresh seeds have not tested it yet"
    return (
        f"{where}The best {search.metric} of {tried} is {score(best.value)} (trial {best.number}: {values}){untested}."
    )


def _history(found: Sequence[SearchTrials], tested: bool) -> Section:
    figure = Figure(
        name="search-history",
        title="Search: history",
        caption="The trials in the order in which they were proposed, with their values on the validation part. A dot "
        "is a finished trial, a thin cross one that "
        "was stopped early (at its last value), and a bold cross one without a value: it diverged, failed or ran out "
        "of memory. The line is the best feasible value so far. The best of many noisy values looks better than it is, "
        "so finalists run again with fresh seeds.",
        alt="Scatter plot of the value of every trial in order, with the best so far as a line.",
        traces=[trace for search in found for trace in _order(search, len(found) > 1)],
        layout=plot.layout({"title": "trial", "rangemode": "tozero"}, {"title": metrics(found)}),
        queries=(STATEMENT,),
    )
    rows = [row for search in found for row in _best(search)]
    names = list(dict.fromkeys(key for search in found for trial in search.trials for key in trial.params))
    cells = [
        Row(heads, (*params(trial.params, names), cell(score, value=trial.value), trial.origin), colour)
        for heads, trial, colour in rows
    ]
    table = Table(("search", "trial"), (*names, metrics(found), "proposed by"), tuple(cells), words=("proposed by",))
    states = "; ".join(f"{search.name or 'the search'}: {_states(search)}" for search in found)
    caption = f"{figure.caption} Trials: {states}. The table lists the {BEST} best of each search."
    return Section(
        figure.name,
        figure.title,
        figure.queries,
        caption,
        figure,
        table,
        answer=" ".join(_best_of(search, tested) for search in found),
    )


def _states(search: SearchTrials) -> str:
    states = [trial.state for trial in search.trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _best(search: SearchTrials) -> Iterator[tuple[tuple[str, str], TrialRow, int]]:
    ordered = sorted(search.valued, key=lambda trial: (not trial.feasible, search.sign * (trial.value or 0.0)))
    for trial in ordered[:BEST]:
        yield (search.name or "all", cell(str, trial=trial.number)), trial, search.place % len(PALETTE)


def _lost(search: SearchTrials, ended: Sequence[TrialRow]) -> Iterator[Json]:
    """Yield the trials without a value, drawn at the worst value of the others."""
    lost = [trial for trial in search.trials if trial.state in VALUELESS and trial.value is None]
    if lost and ended:
        edge = max((trial.value or 0.0 for trial in ended), key=lambda value: search.sign * value)
        yield dots(search, lost, [trial.number for trial in lost], [edge] * len(lost), legend=False)


def _order(search: SearchTrials, legend: bool) -> Iterator[Json]:
    ended = [trial for trial in search.trials if trial.value is not None]
    feasible = [trial for trial in ended if trial.feasible]
    best = accumulate((search.sign * (trial.value or 0.0) for trial in feasible), min)
    yield dots(search, ended, [trial.number for trial in ended], [trial.value for trial in ended], legend)
    yield from _lost(search, ended)
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": [trial.number for trial in feasible],
        "y": rounded(search.sign * value for value in best),
        "line": {"color": search.colour, "shape": "hv", "width": 1.5, "dash": DASHES[search.place % len(DASHES)]},
        "hoverinfo": "skip",
        "showlegend": False,
    }
