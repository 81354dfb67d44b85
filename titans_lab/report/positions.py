"""The loss by place in the window: what a model gains from the context that it has read."""

from __future__ import annotations

from titans_lab.report import plot
from titans_lab.report.arms import Design
from titans_lab.report.axis import octaves
from titans_lab.report.data import Material
from titans_lab.report.lines import Curve, banded, spread
from titans_lab.report.plot import Figure
from titans_lab.report.section import Section, drawn

STATEMENT = "positions"
SQL = """\
select run_id, position, value, unit
from evals
where run_id in ({ids}) and evaluation is null and baseline is null
  and metric = 'loss' and position is not null and isfinite(value)
order by run_id, position"""


def section(material: Material, design: Design) -> Section | None:
    """A line for every arm; None where no run has recorded it."""
    rows = material.evidence.ask(STATEMENT, SQL.format(ids=material.ids))
    curves: dict[str, Curve] = {}
    for row in rows:
        curves[row["run_id"]] = {**curves.get(row["run_id"], {}), row["position"] + 1: row["value"]}
    found = {arm: line for arm in design.arms if (line := spread(arm, curves))}
    if not found:
        return None
    hover, unit = "from place %{x}: %{y:.3f}", rows[0]["unit"]
    return drawn(
        Figure(
            name="positions",
            title="Loss by place in the window",
            caption="Validation loss of the tokens at a place of the window, from that place to the next one drawn: "
            "two an octave. The mean over the done seeds of an arm, the band from the lowest to the highest. Every "
            "window starts without context, so a line that still falls at its end is of a model that uses what is "
            "far back.",
            alt=f"Line plot of the validation loss in {unit} against the place in the window, a line for every arm.",
            traces=[trace for arm, line in found.items() for trace in banded(arm, line, hover, legend=len(found) > 1)],
            layout=plot.layout(
                {"title": "place in the window, tokens"} | octaves([x for line in found.values() for x in line.x]),
                {"title": f"validation loss, {unit}"},
            ),
            queries=(STATEMENT,),
        )
    )
