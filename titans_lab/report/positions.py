"""The loss by position in the window: what a model gains from its context."""

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
    """Return a line for every arm; None if no run has recorded losses by position."""
    rows = material.evidence.ask(STATEMENT, SQL.format(ids=material.ids))
    curves: dict[str, Curve] = {}
    for row in rows:
        curves[row["run_id"]] = {**curves.get(row["run_id"], {}), row["position"] + 1: row["value"]}
    found = {arm: line for arm in design.arms if (line := spread(arm, curves))}
    if not found:
        return None
    hover, unit = "from position %{x}: %{y:.3f}", rows[0]["unit"]
    return drawn(
        Figure(
            name="positions",
            title="Loss by position in the window",
            caption="Test loss by the token's position in the window, averaged up to the next position drawn "
            "(two per octave): the mean over an arm's finished seeds, with a band from the lowest to the highest seed. "
            "Each window starts without context, so a line that still falls at its end belongs to a model that uses "
            "distant tokens.",
            alt=f"Line plot of the test loss in {unit} against the position in the window, a line for every arm.",
            traces=[trace for arm, line in found.items() for trace in banded(arm, line, hover, plot.named(len(found)))],
            layout=plot.layout(
                {"title": "position in the window, tokens"} | octaves([x for line in found.values() for x in line.x]),
                {"title": f"test loss, {unit}"},
            ),
            queries=(STATEMENT,),
        )
    )
