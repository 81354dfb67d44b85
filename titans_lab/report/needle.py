"""The heat map of a needle in a haystack: the lengths and depths at which an arm finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.axis import tokens
from titans_lab.report.data import Material
from titans_lab.report.evidence import Row
from titans_lab.report.lengths import NAMES, of_largest
from titans_lab.report.panels import Grid
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Section, drawn
from titans_lab.stats.proportion import wilson

STATEMENT = "depths"
PARTS = 10  # parts that the depth is divided into
SQL = f"""\
select run_id, setting, length, cast(least(floor(depth * {PARTS}), {PARTS - 1}) as integer) as part,
       cast(sum(value * count order by value, count) as bigint) as found, cast(sum(count) as bigint) as asked
from largest
group by run_id, setting, length, part
order by run_id, setting, length, part"""
WHERE = """\
run_id in ({ids}) and evaluation is not null and {by_then}
    and task = 'needle' and metric = 'accuracy' and length is not null and depth is not null"""
MOST = 12  # the most frames; the caption says how many are left out
FRAME = 150  # pixels
#: The colours from no answer to all answers right, distinguishable in grey and with any colour vision (cividis, arXiv
#: 1712.01662).
SCALE = [[0, "#00224e"], [0.25, "#35456c"], [0.5, "#7d7c78"], [0.75, "#bcae6c"], [1, "#fee838"]]


@dataclass(frozen=True)
class Cell:
    """The questions of a length whose needle is about as deep."""

    found: int
    asked: int

    @property
    def share(self) -> float:
        """Return the share of right answers."""
        return self.found / self.asked


#: The cells by length and by part of the depth, from 0.
Map = dict[tuple[int, int], Cell]


def section(material: Material, design: Design) -> Section | None:
    """Return a frame for every arm and kind of needle; None if no answers have a depth."""
    rows = material.evidence.ask(STATEMENT, of_largest(SQL, WHERE, material))
    found = list(_maps(rows, design))
    if not found:
        return None
    shown = found[:MOST]
    several = len({kind for _, kind, _ in shown}) > 1
    grid = Grid(
        len(shown),
        2 if len(shown) > 1 else 1,
        FRAME,
        {"title": "length, tokens", "type": "category", "showgrid": False},
        {"title": "depth", "range": (1, 0), "tickformat": ".0%", "tickvals": (0, 0.5, 1), "showgrid": False},
    )
    return drawn(
        Figure(
            name="needle-depths",
            title=_title(shown),
            caption=_caption(len(found) - len(shown), [cell for *_, cells in shown for cell in cells.values()]),
            alt="Heat maps of the share of needles found, by length and depth, one for every arm. "
            + "; ".join(_spoken(arm, cells) for arm, _, cells in shown),
            traces=[_trace(cells, arm, place == 0) | grid.axes(place) for place, (arm, _, cells) in enumerate(shown)],
            layout=grid.layout([f"{arm.label} · {kind}" if several and kind else arm.label for arm, kind, _ in shown]),
            queries=(STATEMENT,),
        )
    )


def _title(shown: Sequence[tuple[Arm, str, Map]]) -> str:
    kinds = {kind for _, kind, _ in shown}
    kind = f": {kinds.pop()}" if len(kinds) == 1 and "" not in kinds else ""
    return f"{NAMES['needle']}{kind}, by length and depth"


def _maps(rows: Sequence[Row], design: Design) -> Iterator[tuple[Arm, str, Map]]:
    for setting in dict.fromkeys(sorted(row["setting"] for row in rows)):
        for arm in design.arms:
            ids = {outcome.run.run_id for outcome in arm.done}
            cells: Map = {}
            for row in rows:
                if row["setting"] == setting and row["run_id"] in ids:
                    at = row["length"], row["part"]
                    before = cells.get(at, Cell(0, 0))
                    cells[at] = Cell(before.found + row["found"], before.asked + row["asked"])
            if cells:
                yield arm, setting, cells


def _trace(cells: Map, arm: Arm, first: bool) -> Json:
    lengths = sorted({length for length, _ in cells})
    table = [[cells.get((length, part)) for length in lengths] for part in range(PARTS)]
    return {
        "type": "heatmap",
        "x": [tokens(length) for length in lengths],
        "y": [(part + 0.5) / PARTS for part in range(PARTS)],
        "z": [[cell and round(cell.share, 4) for cell in row] for row in table],
        "text": [
            [plot.text(_described(arm, length, part, cell)) for length, cell in zip(lengths, row, strict=True)]
            for part, row in enumerate(table)
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "colorscale": SCALE,
        "showscale": first,
        "colorbar": BAR,
    }


#: The colour bar, above the frames so that it takes no width from them.
BAR = {
    "title": {"text": "found", "side": "top"},
    "orientation": "h",
    "tickformat": ".0%",
    "tickvals": [0, 0.5, 1],
    "thickness": 10,
    "len": 0.4,
    "x": 1,
    "xanchor": "right",
    "y": 1,
    "yanchor": "bottom",
    "outlinewidth": 0,
}


def _described(arm: Arm, length: int, part: int, cell: Cell | None) -> str:
    if cell is None:
        return ""
    low, high = wilson(cell.found, cell.asked)
    where = f"{arm.label}, {tokens(length)} tokens, depth {part / PARTS:.0%} to {(part + 1) / PARTS:.0%}"
    return f"{where}: {cell.found} of {cell.asked} found ({low:.2f} to {high:.2f})"


def _caption(left_out: int, cells: list[Cell]) -> str:
    fewest, most = (end(cell.asked for cell in cells) for end in (min, max))
    asked = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    more = f" {left_out} more are not drawn; the statement has them." if left_out else ""
    return (
        "Share of needles found by length and by depth, from the start (0 %) to the end of the text, over all finished "
        f"seeds of an arm: {asked} questions per cell, with a 95 % Wilson interval in the hover text. A missing cell "
        f"had no needle. If a run was evaluated several times, the largest evaluation counts.{more}"
    )


def _spoken(arm: Arm, cells: Map) -> str:
    longest = max(length for length, _ in cells)
    there = [cell for (length, _), cell in cells.items() if length == longest]
    share = sum(cell.found for cell in there) / sum(cell.asked for cell in there)
    return f"{arm.label}: {share:.2f} at {tokens(longest)} tokens"
