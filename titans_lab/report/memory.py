"""Memory diagnostics: surprise, gates and weights over training and over the window, by block, layer and head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material
from titans_lab.report.evidence import Row
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Section, of_figure

#: The columns of the view `memory`, and their titles on an axis.
FIGURES = {
    "gradient_norm": "surprise: norm of the inner gradient",
    "weight_norm": "norm of the weights, over the initial one",
    "theta": "step size theta",
    "eta": "momentum eta",
    "alpha": "forgetting alpha",
    "loss": "inner loss",
    "staleness": "staleness of the gradient, over its norm",
}
LOOKS = 48  # the most points of a line over training
MOST_LINES = 1500  # lines of all runs; where there would be more, heads are averaged
PLACES = """\
select distinct block, layer, head
from memory
where run_id in ({ids}) and position is null and layer is not null
order by block, layer, head"""
TRAINING = f"""\
with looks as (
  select *, cast(greatest(1, ceil({LOOKS}.0 * tokens / max(tokens) over ())) as integer) as look
  from memory
  where run_id in ({{ids}}) and position is null
)
select run_id, block, layer, {{head}}, look, max(tokens) as x,
       {{means}}
from looks
group by {{each}}, look
order by {{each}}, look"""
WINDOW = """\
with ends as (select run_id, max(step) as step from memory where run_id in ({ids}) group by run_id)
select run_id, block, layer, {head}, position as x,
       {means}
from memory join ends using (run_id, step)
where position is not null
group by {each}, position
order by {each}, position"""
MEANS = ", ".join(f"avg({name} order by {name}) filter (isfinite({name})) as {name}" for name in FIGURES)
READING = (
    "Means over the first windows of the validation text and an arm's finished seeds{where}. Surprise is the norm of "
    "the gradient that the memory is written with; the weights are those before a token's own write."
)


@dataclass(frozen=True, order=True)
class MemoryPlace:
    """A place in the model: a head of a layer of a block's memory, or all heads of it."""

    block: int
    layer: int
    head: int | None

    def __str__(self) -> str:
        head = "all heads" if self.head is None else f"head {self.head}"
        return f"block {self.block}, layer {self.layer}, {head}"


#: The lines of an arm, from x to value, by figure and by place; None is the mean over all places.
Lines = dict[tuple[str, MemoryPlace | None], dict[float, float]]


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Yield the figures over training and over the window; none if no run logged its memory (`log.memory_every`)."""
    places = material.evidence.ask("memory-places", PLACES.format(ids=material.ids))
    if not places:
        return
    by_head = len(places) * len(material.outcomes) <= MOST_LINES
    each = "run_id, block, layer" + (", head" if by_head else "")
    parts = {"ids": material.ids, "head": "head" if by_head else "null as head", "each": each, "means": MEANS}
    where = "" if by_head else ", averaged over the heads"
    for name, sql, title, x in (
        ("memory-training", TRAINING, "over training", {"title": "training tokens", "tickformat": "~s"}),
        (
            "memory-window",
            WINDOW,
            "over the window at the end of training",
            {"title": "position in the window, tokens"},
        ),
    ):
        rows = material.evidence.ask(name, sql.format(**parts))
        if figure := _figure(name, f"Memory diagnostics {title}", rows, design, x, READING.format(where=where)):
            yield of_figure(figure)


def _figure(name: str, title: str, rows: Sequence[Row], design: Design, x: Json, caption: str) -> Figure | None:
    lines = {arm: found for arm in design.arms if (found := _lines(arm, rows))}
    if not lines:
        return None
    places = [None, *sorted({place for found in lines.values() for _, place in found if place})]
    figures = [each for each in FIGURES if any((each, None) in found for found in lines.values())]
    series = [_series(lines, figure, place) for figure, place in product(figures, places)]
    traces = [
        plot.line(
            arm,
            x_of,
            series[0]["y"][at],
            showlegend=plot.named(len(lines)),
            hovertemplate=f"{plot.text(arm.label)}<br>%{{x:,.4~s}}: %{{y:.4~g}}<extra></extra>",
        )
        for at, (arm, x_of) in enumerate((arm, sorted(_any(found))) for arm, found in lines.items())
    ]
    return Figure(
        name=name,
        title=title,
        caption=f"{caption} The figure and the memory can be chosen above.",
        alt=f"Line plot of {FIGURES[figures[0]]}, a line for every arm; other figures and places can be chosen.",
        traces=traces,
        layout=plot.layout({"rangemode": "tozero", **x}, {"title": FIGURES[figures[0]]}),
        queries=(name,),
        controls={
            "choices": [
                {"label": "Figure", "options": [FIGURES[each].partition(":")[0] for each in figures]},
                {"label": "Memory", "options": ["mean of all", *map(str, places[1:])]},
            ],
            "series": series,
        },
    )


def _any(found: Lines) -> list[float]:
    """Return an arm's positions along x, the same for all of its figures."""
    return sorted({x for line in found.values() for x in line})


def _series(lines: Mapping[Arm, Lines], figure: str, place: MemoryPlace | None) -> Json:
    """Return the data of one choice: the title of the y axis, and the values of every arm along `_any`."""
    values = [[_rounded(found.get((figure, place), {}).get(x)) for x in _any(found)] for found in lines.values()]
    return {"title": FIGURES[figure], "y": values}


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded([value])[0]


def _lines(arm: Arm, rows: Sequence[Row]) -> Lines:
    """Return the means over the done seeds. The inner loss, which all layers share, is a value of each layer."""
    ids = {outcome.run.run_id for outcome in arm.done}
    mine = [row for row in rows if row["run_id"] in ids]
    layers = sorted({row["layer"] for row in mine if row["layer"] is not None})
    sums: dict[tuple[str, MemoryPlace | None], dict[float, list[float]]] = {}
    for row in mine:
        for figure in FIGURES:
            if row[figure] is None:
                continue
            at = layers if row["layer"] is None else [row["layer"]]
            for place in (None, *(MemoryPlace(row["block"], layer, row["head"]) for layer in at)):
                sums.setdefault((figure, place), {}).setdefault(row["x"], []).append(row[figure])
    return {key: {x: math.fsum(each) / len(each) for x, each in line.items()} for key, line in sums.items()}
