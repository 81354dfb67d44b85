"""Rows of plain values as a table for people, as CSV, as JSON and as Markdown.

The table is our own, since rich takes 1.5 ms for a row of eight columns and `query` prints any number of rows.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

TextFormat = Literal["table", "csv", "json", "markdown"]
Format = Literal["table", "csv", "json", "markdown", "parquet"]
Rows = Iterable[Iterable[Any]]

SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown"}
GAP = "  "
NARROWEST = 10  # characters to which a column of text may be cut so that a table fits


def format_of(output: Path | None) -> Format:
    """Return the format that the name of a file asks for; a table where it asks for none."""
    return SUFFIXES.get(output.suffix.lower(), "table") if output else "table"


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
    return {"csv": to_csv, "json": to_json, "markdown": to_markdown}[form](names, rows)


def to_json(names: Sequence[str], rows: Rows) -> str:
    """Return a JSON list of objects: see `plain`."""
    listed = [dict(zip(names, map(plain, row), strict=True)) for row in rows]
    return json.dumps(listed, indent=1, default=str) + "\n"


def to_csv(names: Sequence[str], rows: Rows) -> str:
    """Return CSV with every digit, in which no cell is one that a spreadsheet would run: see `unarmed`."""
    writer = csv.writer(SimpleNamespace(write=str), lineterminator="\r\n")  # so that a lone \r is quoted, too
    lines = (writer.writerow(map(unarmed, row)) for row in itertools.chain([names], rows))
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def to_markdown(names: Sequence[str], rows: Rows) -> str:
    """Return a table in GitHub's Markdown. What would be read as markup is escaped."""
    marks = f"| {' | '.join(['---'] * len(names))} |"
    head, *lines = (f"| {' | '.join(map(_escaped, row))} |" for row in (names, *(map(shown, row) for row in rows)))
    return "\n".join([head, marks, *lines]) + "\n"


def to_table(names: Sequence[str], rows: Iterable[Iterable[str]], width: int | None = None) -> str:
    """Return aligned columns, numbers to the right.

    Where they are wider than `width`, the widest columns of text are cut. Where that is not enough, each row becomes a
    block with a line for each column.
    """
    table = [list(row) for row in rows]
    columns = list(zip(*table, strict=True)) or [()] * len(names)
    numeric = [bool(cells) and all(map(_is_number, cells)) for cells in columns]
    widths = [max(map(len, (name, *cells))) for name, cells in zip(names, columns, strict=True)]
    if width is not None:
        fixed = [size if right else min(size, NARROWEST) for size, right in zip(widths, numeric, strict=True)]
        room = width - len(GAP) * (len(names) - 1)
        if sum(fixed) > room and table:
            return _blocks(names, table)
        while sum(widths) > max(room, sum(fixed)):
            place = max(range(len(names)), key=lambda each: (widths[each] > fixed[each], widths[each]))
            widths[place] -= 1
    lines = [_line(row, widths, numeric) for row in (names, *table)]
    return "\n".join([lines[0], GAP.join("─" * size for size in widths), *lines[1:]]) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cut = [cell if len(cell) <= size else f"{cell[: size - 1]}…" for cell, size in zip(cells, widths, strict=True)]
    return GAP.join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cut, widths, right, strict=True)).rstrip()


def _blocks(names: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    size = max(map(len, names))
    return "\n".join(
        "".join(f"{name.ljust(size)}{GAP}{cell}\n" for name, cell in zip(names, row, strict=True)) for row in table
    )


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1] in "0123456789-." or cell in ("nan", "inf")


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>|" else letter for letter in text).replace("&", "&amp;")


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names with a number where one occurs again: loss, loss_1."""
    taken: dict[str, None] = {}
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        taken[next(other for other in itertools.chain([name], others) if other not in taken)] = None
    return list(taken)


def unarmed(value: Any) -> str:
    """Return a value as a cell of CSV with every digit.

    A spreadsheet runs a text that begins with =, +, -, @, a tab or a carriage return as a formula, which may start
    programs and send data away. Such a text gets an apostrophe in front, by which a spreadsheet knows a text. What
    is a number stays as it is.
    """
    text = exact(value)
    if not isinstance(value, str) or not text.startswith(("=", "+", "-", "@", "\t", "\r")):
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
    return json.dumps(plain(value), default=str) if isinstance(value, dict | list) else str(value)


def shown(value: Any) -> str:
    """Return a value for people: one line, six digits of a float, and control characters spelt out."""
    if value is None:
        return "-"
    return harmless(f"{value:.6g}" if isinstance(value, float) else exact(value))


def harmless(text: str) -> str:
    """Return a line of text with its control characters spelt out, which would steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def plain(value: Any) -> Any:
    """Return a value as JSON can have it.

    What is not a finite number is null. Integers have all their digits. A decimal is a number where that says all
    of it, and else a text.
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
