"""Draw the mean score of each combination of two factors as a heat map."""

from __future__ import annotations

import math

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import Design
from titans_lab.report.crossed import level_name
from titans_lab.report.format import score
from titans_lab.report.needle import SCALE
from titans_lab.report.plot import Figure, Json
from titans_lab.run.metric import Metric
from titans_lab.stats.crossing import Crossing

ROW = 56  # pixels for each level
FRAME = 110  # pixels above and below


def heat_map(crossing: Crossing, metric: Metric, design: Design) -> Figure:
    """Return the heat map of a study with two factors: the levels of the first below each other."""
    rows, columns = crossing.factors
    return Figure(
        name="effects",
        title="Effects of the factors",
        caption="",
        alt=f"Heat map of the mean {metric.name} by {rows.name} and {columns.name}.",
        traces=[_trace(crossing, metric)],
        layout=plot.layout(
            {"title": columns.name, "type": "category", "showgrid": False, "ticks": ""},
            {"title": rows.name, "type": "category", "autorange": "reversed", "showgrid": False, "ticks": ""},
            height=FRAME + ROW * len(rows.levels),
        ),
        queries=("runs",),
    )


def _trace(crossing: Crossing, metric: Metric) -> Json:
    rows, columns = crossing.factors
    cells = [[_mean(crossing, (i, j)) for j in range(len(columns.levels))] for i in range(len(rows.levels))]
    hover = [[_hover(crossing, (i, j), metric) for j in range(len(columns.levels))] for i in range(len(rows.levels))]
    return {
        "type": "heatmap",
        "x": [plot.text(level_name(columns, level)) for level in range(len(columns.levels))],
        "y": [plot.text(level_name(rows, level)) for level in range(len(rows.levels))],
        "z": cells,
        "text": [[score(value) for value in row] for row in cells],
        "texttemplate": "%{text}",
        "textfont": {"size": 14},
        "customdata": hover,
        "hovertemplate": "%{customdata}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
        "colorscale": SCALE,
        "showscale": False,
    }


def _mean(crossing: Crossing, cell: tuple[int, int]) -> float | None:
    """Return the mean over the seeds; None for a combination without a value."""
    values = crossing.cells[cell].values.values() if cell in crossing.cells else ()
    return math.fsum(values) / len(values) if values else None


def _hover(crossing: Crossing, cell: tuple[int, int], metric: Metric) -> str:
    where = " · ".join(
        f"{factor.name} {level_name(factor, at)}" for factor, at in zip(crossing.factors, cell, strict=True)
    )
    if cell not in crossing.cells:
        return plot.text(f"{where}: not part of the study")
    sample = crossing.cells[cell]
    diverged = f", {sample.diverged} diverged" if sample.diverged else ""
    mean = _mean(crossing, cell)
    return plot.text(f"{where}: {score(mean)} {metric.unit} ({plural(len(sample.values), 'seed')}{diverged})")
