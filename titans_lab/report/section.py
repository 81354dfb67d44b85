"""The sections of a page: each is a figure, a table or a sentence, with the evidence of its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from titans_lab.report.format import NONE
from titans_lab.report.plot import Figure
from titans_lab.run.metric import Metric
from titans_lab.stats.interval import Summary

T = TypeVar("T")


class TableCell(str):
    """The text of a table's cell, with its figures for programs.

    A cell that is a plain `str` holds words, and programs read these under the heading of the column.

    Attributes:
        figures: The unrounded figures by name. A name ends in its unit, except that the unit of the study's metric is
            in the column `unit`. The table sorts by the first figure.
    """

    figures: dict[str, Any]

    def __new__(cls, text: str, **figures: Any) -> TableCell:
        """Return the cell that shows `text`."""
        cell = super().__new__(cls, text)
        cell.figures = figures
        return cell

    @property
    def key(self) -> Any:
        """Return the value that the column is sorted by."""
        return next(iter(self.figures.values()))


def cell(words: Callable[[T], str], **figure: T) -> TableCell:
    """Return a cell of one named figure, which `words` turns into text."""
    (value,) = figure.values()
    return TableCell(words(value), **figure)


def mean_cell(column: str, found: Summary | None, digits: int) -> TableCell:
    """Return a cell of a mean, with half of its interval where that is known."""
    names = (identifier(column), f"{identifier(column)}_half_width_95")
    if found is None:
        return TableCell(NONE, **dict.fromkeys(names))
    half = "" if found.half_width is None else f" ± {found.half_width:.{digits}f}"
    return TableCell(f"{found.mean:.{digits}f}{half}", **dict(zip(names, (found.mean, found.half_width), strict=True)))


@dataclass(frozen=True)
class Row:
    """A row of a table, as text.

    Attributes:
        heads: The cells that say what the row is about: values of the study's factors, or a name.
        cells: The cells of the other columns.
        colour: The arm's index into the palette, or None for a row that is about no arm.
        better: Whether the study's verdict calls the arm better than its baseline. Then the row is bold.
    """

    heads: tuple[str, ...]
    cells: tuple[str, ...]
    colour: int | None = None
    better: bool = False


@dataclass(frozen=True)
class Table:
    """A table, as text.

    Attributes:
        heads: Headings of the columns that say what a row is about.
        columns: Headings of the others.
        rows: The rows, from top to bottom.
        words: The columns of words, which are aligned to the left.
        main: The columns that a narrow screen shows first. Empty: all columns.
        metric: The metric of the scores, means and differences in the table, or None.
    """

    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    words: tuple[str, ...] = ()
    metric: Metric | None = None
    main: tuple[str, ...] = ()

    @property
    def same(self) -> dict[str, str]:
        """Return the columns whose cells are all equal, with that cell, which a page shows once below the table."""
        if len(self.rows) < 2:
            return {}
        cells = {column: {row.cells[place] for row in self.rows} for place, column in enumerate(self.columns)}
        return {column: each.pop() for column, each in cells.items() if len(each) == 1 and column not in self.main}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names under which programs read the columns."""
        named = dict.fromkeys(name for record in self.records for name in record)
        return tuple(named) or tuple(map(identifier, (*self.heads, *self.columns)))

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return every row as programs read it: unrounded figures by name, and words by the column's heading."""
        return [self._record(row) for row in self.rows]

    def _record(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for heading, each in zip((*self.heads, *self.columns), (*row.heads, *row.cells), strict=True):
            if isinstance(each, TableCell):
                found |= each.figures
            else:
                found[identifier(heading)] = each if each != NONE else None
        return found | ({"metric": self.metric.name, "unit": self.metric.unit} if self.metric else {})


def identifier(heading: str) -> str:
    """Return a heading as a name: "changes to the baseline" is changes_to_the_baseline."""
    return re.sub(r"[^\w.]+", "_", heading.casefold()).strip("_")


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    Attributes:
        name: The section's id on the page, which is also that of its figure.
        title: The section's heading.
        evidence: The names of the statements that its numbers come from.
        caption: The caption, which says how to read the section.
        figure: The figure, which comes first.
        table: The table, below the figure or in place of it.
        nothing: The reason why there is neither figure nor table.
        question: The question of a study that has a section of its own, shown above the answer.
        answer: The answer to the study's question, in a section that the study was designed for. The page and the
            terminal begin with it.
        findings: Further sentences for the head of the page, and for the terminal.
    """

    name: str
    title: str
    evidence: tuple[str, ...]
    caption: str = ""
    figure: Figure | None = field(default=None)
    table: Table | None = None
    nothing: str = ""
    question: str = ""
    answer: str = ""
    findings: tuple[str, ...] = ()


def drawn(figure: Figure | None, table: Table | None = None) -> Section | None:
    """Return the section of a figure, with its title, caption and evidence; None without a figure."""
    return None if figure is None else of_figure(figure, table)


def of_figure(figure: Figure, table: Table | None = None) -> Section:
    """Return the section of a figure, with its title, caption and evidence."""
    return Section(figure.name, figure.title, figure.queries, figure.caption, figure, table)
