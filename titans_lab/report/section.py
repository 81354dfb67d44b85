"""What a page is made of: sections, each a figure, a table or a few words, with the evidence of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from titans_lab.report.plot import Figure


@dataclass(frozen=True)
class Row:
    """A row of a table, as text.

    Attributes:
        heads: What it is about: values of the study's factors, or a name.
        cells: Its values.
        colour: Of its arm, an index into the palette; None: of no arm.
        best: Whether it is the arm with the best mean.
        values: What cells sort by, where that is not their text: None for those that come last.
    """

    heads: tuple[str, ...]
    cells: tuple[str, ...]
    colour: int | None = None
    best: bool = False
    values: tuple[float | str | None, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table, as text.

    Attributes:
        heads: Headings of the columns that say what a row is about.
        columns: Headings of the others.
        rows: From top to bottom.
        words: The columns that hold words, and stand to the left.
    """

    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    Attributes:
        name: Its id on the page; of its figure too.
        title: Its heading.
        evidence: Names of the statements that its numbers come from.
        caption: How to read it.
        figure: Drawn first.
        table: Below the figure, or in its place.
        nothing: Said in place of both where there is nothing to show, and why.
    """

    name: str
    title: str
    evidence: tuple[str, ...]
    caption: str = ""
    figure: Figure | None = field(default=None)
    table: Table | None = None
    nothing: str = ""


def drawn(figure: Figure | None, table: Table | None = None) -> Section | None:
    """Return the section of a figure, with its title, caption and evidence; None without a figure."""
    return None if figure is None else of_figure(figure, table)


def of_figure(figure: Figure, table: Table | None = None) -> Section:
    """Return the section of a figure, with its title, caption and evidence."""
    return Section(figure.name, figure.title, figure.queries, figure.caption, figure, table)
