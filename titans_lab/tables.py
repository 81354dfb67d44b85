"""Write rows of plain values as a terminal table, as CSV, as JSON and as Markdown.

The terminal table does not use rich, which takes 1.5 ms for a row of eight columns: `query` prints any number of rows.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from titans_lab.errors import UserError

T = TypeVar("T")
TextFormat = Literal["table", "csv", "json", "md"]
Format = Literal["table", "csv", "json", "md", "parquet"]
Rows = Iterable[Iterable[Any]]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".md": "md",
    ".txt": "table",
    "": "table",
}
#: The first characters of formulas, with their full-width forms from Chinese, Japanese and Korean keyboards.
ARMED = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
GAP = "  "
NARROWEST = 12  # the least width in characters to which a column of text is cut so that a table fits


def format_of(output: Path | None) -> Format:
    """Return the format that the suffix of a file name implies, by default a table.

    Raises:
        UserError: The suffix is no format.
    """
    return format_in(SUFFIXES, output) if output else "table"


def format_in(formats: Mapping[str, T], output: Path) -> T:
    """Return the one of some formats by suffix that the name of an output file implies.

    Raises:
        UserError: The suffix is no format.
    """
    suffix = output.suffix.lower()
    if suffix not in formats:
        known = ", ".join(filter(None, formats))
        raise UserError(f"-o {output}: no format is named {suffix or 'so'}; end the name in {known}, or give --format")
    return formats[suffix]


def to_text(form: TextFormat, names: Sequence[str], rows: Rows, width: int | None = None) -> str:
    """Return the rows in one of the formats.

    Args:
        form: The format.
        names: The columns. A name that occurs twice gets a number.
        rows: The values: numbers, texts, None, dates, and lists and dicts of these.
        width: Characters in a line of the terminal that a table should fit. None: any width will do, as in a file.
    """
    names = distinct(names)
    if form == "table":
        return to_table(names, (map(shown, row) for row in rows), width)
    return {"csv": to_csv, "json": to_json, "md": to_markdown}[form](names, rows)


def to_json(names: Sequence[str], rows: Rows) -> str:
    """Return a JSON list of objects: see `plain`."""
    listed = [dict(zip(names, map(plain, row), strict=True)) for row in rows]
    return json.dumps(listed, indent=1, default=str, allow_nan=False) + "\n"


def to_csv(names: Sequence[str], rows: Rows) -> str:
    """Return CSV with every digit and without cells that a spreadsheet would execute: see `unarmed`."""
    writer = csv.writer(SimpleNamespace(write=str), lineterminator="\r\n")  # so that a single \r is quoted, too
    lines = (writer.writerow(map(unarmed, row)) for row in itertools.chain([names], rows))
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def to_markdown(names: Sequence[str], rows: Rows, right: Collection[str] = ()) -> str:
    """Return a table in GitHub's Markdown, with the columns in `right` aligned right. Markup is escaped."""
    marks = f"| {' | '.join('---:' if name in right else '---' for name in names)} |"
    cells = (names, *(map(shown, row) for row in rows))
    head, *lines = (f"| {' | '.join(map(markdown_text, row))} |" for row in cells)
    return "\n".join([head, marks, *lines]) + "\n"


def to_table(names: Sequence[str], rows: Iterable[Iterable[str]], width: int | None = None) -> str:
    """Return a table with aligned columns, numbers to the right.

    If the table is wider than `width`, columns of text are cut, the widest first. If that is not enough, the remaining
    columns continue below. The first column, which identifies the rows, is repeated there and is cut to no less than
    half of the width.
    """
    table = [list(row) for row in rows]
    cells = [tuple(map(harmless, (name, *(row[place] for row in table)))) for place, name in enumerate(names)]
    half = max(NARROWEST, (width or 0) // 2)
    columns = [_Column.of(each, NARROWEST if place else half) for place, each in enumerate(cells)]
    return "\n".join("\n".join(_lines(panel)) + "\n" for panel in _panels(columns, width))


@dataclass
class _Column:
    """A column of a table.

    Attributes:
        cells: The name of the column, followed by its cells.
        numeric: Whether the cells are numbers, which are never cut.
        size: The current width in characters.
        least: The least width in characters.
    """

    cells: Sequence[str]
    numeric: bool
    size: int
    least: int

    @classmethod
    def of(cls, cells: Sequence[str], least: int = NARROWEST) -> _Column:
        numeric, size = len(cells) > 1 and all(map(_is_number, cells[1:])), max(map(len, cells))
        return cls(cells, numeric, size, size if numeric else min(size, least))

    def line(self, place: int) -> str:
        """Return a cell, as wide as the column."""
        cell = shortened(self.cells[place], self.size)
        return cell.rjust(self.size) if self.numeric else cell.ljust(self.size)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with an ellipsis where its end is cut off."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _panels(columns: Sequence[_Column], width: int | None) -> list[list[_Column]]:
    """Split the columns into as few panels as possible, which are printed below each other."""
    if width is None or not columns:
        return [list(columns)]
    panels = [[columns[0]]]
    for column in columns[1:]:
        if sum(each.least + len(GAP) for each in panels[-1]) + column.least > width:
            panels.append([replace(columns[0])])
        panels[-1].append(column)
    for panel in panels:
        _cut(panel, width)
    return panels


def _cut(panel: Sequence[_Column], width: int) -> None:
    """Cut columns of text, the widest first, until the panel fits."""
    for column in panel:
        column.size = max(column.least, min(column.size, width))
    over = sum(column.size + len(GAP) for column in panel) - len(GAP) - width
    for _ in range(over):
        widest = max(panel, key=lambda column: (column.size > column.least, column.size))
        if widest.size == widest.least:
            return
        widest.size -= 1


def _lines(panel: Sequence[_Column]) -> list[str]:
    if not panel:
        return [""]
    rows = [GAP.join(column.line(place) for column in panel).rstrip() for place in range(len(panel[0].cells))]
    return [rows[0], GAP.join("─" * column.size for column in panel), *rows[1:]]


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1] in "0123456789-." or cell in ("nan", "inf")


def markdown_text(text: str) -> str:
    """Return text that Markdown shows literally, on one line."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in text)
    return " ".join(escaped.replace("&", "&amp;").split())


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names with a number where one occurs again: loss, loss_1."""
    taken: dict[str, None] = {}
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        taken[next(other for other in itertools.chain([name], others) if other not in taken)] = None
    return list(taken)


def unarmed(value: Any) -> str:
    """Return a value as a cell of CSV with every digit.

    A spreadsheet runs a text that begins with =, +, - or @, or their full-width forms, as a formula, which may start
    programs and send data away. It may ignore white space before these. Such a text gets an apostrophe in front, which
    marks it as a text. Numbers stay as they are.
    """
    text = exact(value)
    if not isinstance(value, str) or not text.lstrip().startswith(ARMED):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def exact(value: Any) -> str:
    """Return a value with every digit; "" for None, and JSON for a list or dict."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(plain(value), default=str, allow_nan=False) if isinstance(value, dict | list) else str(value)


def shown(value: Any) -> str:
    """Return a value as readable text: one line, six digits of a float, and control characters spelt out."""
    if value is None:
        return "-"
    return harmless(f"{value:.6g}" if isinstance(value, float) else exact(value))


def harmless(text: str) -> str:
    """Return a line of text with control characters and changes of text direction escaped, for a terminal."""
    if text.isprintable():
        return text
    kept = (letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in text)  # spaces of any width
    return "".join(letter if keep else repr(letter)[1:-1] for letter, keep in zip(text, kept, strict=True))


def harmless_lines(text: str) -> str:
    """Return a text each line of which is `harmless`."""
    return "\n".join(map(harmless, text.split("\n")))


def plain(value: Any) -> Any:
    """Return a value as JSON can represent it.

    NaN and infinities become null. Integers have all their digits. A decimal becomes a number if that is exact, else
    text.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else f"{value:f}"
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
