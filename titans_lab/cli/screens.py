"""Tables of runs and studies that fit the terminal: important columns first, constant columns once below the table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from titans_lab.cli.output import folded, width
from titans_lab.tables import GAP, to_table

LEAST_LABEL = 24  # characters to which the first column may be cut
SHORT_ID = 8  # characters of a run's id that usually tell it from all others
Columns = Mapping[str, Sequence[str]]
Wide = Annotated[bool, typer.Option("--wide", help="Show every column in full, however wide the table gets.")]


@dataclass(frozen=True)
class Screen:
    """A table as a terminal shows it.

    Attributes:
        shown: The columns of the table.
        same: The columns whose cells are all alike, with that cell.
        hidden: The names of the columns that do not fit.
    """

    shown: Columns
    same: Mapping[str, str]
    hidden: Sequence[str]


def screen(columns: Columns, columns_wide: int | None) -> Screen:
    """Return a table without its constant columns, and without the last columns where it is too wide.

    Args:
        columns: The cells of each column. The first column tells the rows apart; the others come by importance.
        columns_wide: The width of the terminal in characters; None where there is none.
    """
    first, *others = columns
    rows = len(columns[first])
    same = {name: columns[name][0] for name in others if rows > 1 and len(set(columns[name])) == 1}
    varied = {name: columns[name] for name in columns if name not in same}
    if columns_wide is None:
        return Screen(varied, same, ())
    room = columns_wide - min(_size(first, columns[first]), max(LEAST_LABEL, columns_wide // 2))
    hidden = []
    for name in [name for name in varied if name != first]:
        room -= len(GAP) + _size(name, varied[name])
        if room < 0:
            hidden.append(name)
            room += len(GAP) + _size(name, varied[name])
    return Screen({name: cells for name, cells in varied.items() if name not in hidden}, same, hidden)


def print_screen(columns: Columns, wide: bool, every: str) -> None:
    """Print the result of `screen_text`."""
    print(screen_text(columns, wide, every), end="")


def screen_text(columns: Columns, wide: bool, every: str) -> str:
    """Return a table that fits the terminal, or all of it, and what the table leaves out.

    Args:
        columns: See `screen`.
        wide: Whether to show all columns in full.
        every: What a row is about, such as "run", for the line about what is the same for all.
    """
    found = Screen(columns, {}, ()) if wide else screen(columns, width())
    table = to_table(list(found.shown), zip(*found.shown.values(), strict=True), None if wide else width())
    known = [f"{name} {cell}" for name, cell in found.same.items() if cell != "-"]
    lines = [f"Every {every}: {', '.join(known)}."] if known else []
    lines += [f"Not shown: {', '.join(found.hidden)}; --wide shows every column."] if found.hidden else []
    return table + "".join(f"{folded(line, sys.stdout)}\n" for line in ["", *lines] if lines)


def _size(name: str, cells: Sequence[str]) -> int:
    return max(map(len, (name, *cells)))
