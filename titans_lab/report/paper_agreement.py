"""Rank agreement between the arms and the paper's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from titans_lab.paper import PaperTable, tables
from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material
from titans_lab.report.section import Row, Section, Table, TableCell, cell
from titans_lab.run.config import flatten, plain
from titans_lab.run.metric import Metric
from titans_lab.stats.rank import FEWEST, Agreement, agreement

DEPTH = "model.memory.depth"
SHORTEST = "2K"  # the shortest length in figure 7, which is nearest to those that are trained here
COLUMNS = ("the paper's", "figures", "arms", "Kendall's tau", "95\N{NO-BREAK SPACE}% interval")
READING = (
    "Rank agreement between the arms' means and the paper's (arXiv 2501.00663v1): 1 is the same order, -1 the reverse. "
    "The interval is a bootstrap over our seeds and is too narrow with few of them; the paper gives no intervals. The "
    "scales differ: the paper's models have at least 170M parameters and read at least 15B tokens."
)


@dataclass(frozen=True)
class Order:
    """The rank agreement of the arms with one column of a table of the paper."""

    table: PaperTable
    column: str
    found: Agreement

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row, one for each of `COLUMNS`."""
        interval = self.found.interval
        text = f"{interval.low:.2f} to {interval.high:.2f}" if interval else shown.NONE
        ends = TableCell(text, tau_low=interval and interval.low, tau_high=interval and interval.high)
        about = " (read off a plot)" if self.table.approximate else ""
        source = f"{self.table.title}: {self.table.source}{about}"
        arms, tau = cell(str, arms=len(self.found.arms)), cell("{:.2f}".format, kendalls_tau=self.found.tau)
        return source, self.column, arms, tau, ends


def orders(design: Design, metric: Metric) -> list[Order]:
    """Return the rank agreement with each column of the paper that has three or more of the arms."""
    return [
        Order(table, column, agreement(values, table.column(column), table.columns[column] == metric.direction))
        for table, columns, values in _matched(design)
        if len(values) >= FEWEST
        for column in columns
    ]


def section(material: Material, design: Design) -> Section | None:
    """Return a row for every column of the paper that has at least three of the arms."""
    found = orders(design, material.metric) if material.own else []
    rows = tuple(Row(each.cells[:1], each.cells[1:]) for each in found)
    table = Table(COLUMNS[:1], COLUMNS[1:], rows, words=("figures",))
    return Section("paper", "Compared with the paper", ("runs",), READING, table=table) if rows else None


def _matched(design: Design) -> Iterator[tuple[PaperTable, tuple[str, ...], dict[str, dict[int, float]]]]:
    """Yield each table of the paper with the columns to compare and our values by row and seed."""
    if not design.arms:
        return
    known = tables()
    yield known["ablation"], tuple(known["ablation"].columns), _values(_ablations(design, known["ablation"]))
    depths = _values(_depths(design))
    for name, table in known.items():
        if name.startswith("depth-") and SHORTEST in table.columns:
            yield table, (SHORTEST,), depths


def _values(arms: Mapping[str, Arm]) -> dict[str, dict[int, float]]:
    return {row: arm.by_seed for row, arm in arms.items() if arm.by_seed}


def _ablations(design: Design, table: PaperTable) -> dict[str, Arm]:
    """Return the arms that are LMM with at most one of the paper's changes, by row, if LMM is the baseline."""
    held = _held(design)
    base = _config(design.base, held)
    if base["model.variant"] != "lmm":
        return {}
    wanted = {
        row: base | {f"model.{key}": value for key, value in settings.items()}
        for row, settings in table.settings.items()
    }
    wanted = {row: config for row, config in wanted.items() if config != base or row == "LMM"}
    return {row: arm for row, config in wanted.items() for arm in design.arms if _config(arm, held) == config}


def _depths(design: Design) -> dict[str, Arm]:
    """Return the arms that differ from the baseline in the memory's depth alone, by depth."""
    held = _held(design)
    base = _config(design.base, held)
    configs = [(arm, _config(arm, held)) for arm in design.arms]
    return {str(config[DEPTH]): arm for arm, config in configs if config | {DEPTH: base[DEPTH]} == base}


def _held(design: Design) -> set[str]:
    """Return the keys that were solved for to hold a cost equal; the paper's arms may differ in them."""
    return {key for arm in design.arms for key in arm.outcomes[0].run.solved}


def _config(arm: Arm, without: set[str]) -> dict[str, Any]:
    config = flatten(plain(arm.outcomes[0].run.config))
    return {key: value for key, value in config if key not in without}
