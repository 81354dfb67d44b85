"""The result of a query in the form that is asked for, on stdout or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.store.arrow import Table

Format = Literal["table", "csv", "json", "parquet", "markdown"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown"}


def chosen(given: Format | None, as_csv: bool, as_json: bool, output: Path | None) -> Format:
    """What the options mean; by the name of the file where they say nothing. UserError: two different ones."""
    asked: set[Format] = {each for each in (given, "csv" if as_csv else None, "json" if as_json else None) if each}
    if len(asked) > 1:
        raise UserError(f"query: two formats, {' and '.join(sorted(asked))}; give one")
    by_name = SUFFIXES.get(output.suffix.lower(), "table") if output else "table"
    return asked.pop() if asked else by_name


def write(table: Table, form: Format, output: Path | None) -> None:
    """Print a table, or put it into a file that is then there whole. UserError: it cannot be shown or written."""
    from titans_lab.output import write_output

    if output is None and form == "parquet" and sys.stdout.isatty():
        raise UserError("query: parquet is not for a terminal; give -o FILE, or a pipe")
    if output is None and form != "parquet":
        print(_text(table, form), end="")
        return
    content = _parquet(table) if form == "parquet" else _text(table, form).encode()
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        write_output(output, content)


def _parquet(table: Table) -> bytes:
    from titans_lab.store.arrow import parquet

    return parquet(table)


def _text(table: Table, form: Format) -> str:
    from titans_lab.cli.output import print_rows

    if form == "markdown":
        return "".join(f"{line}\n" for line in _markdown(table.column_names, _values(table)))
    with redirect_stdout(StringIO()) as text:
        print_rows(table.column_names, _values(table), form == "csv", form == "json")
    return text.getvalue()


def _values(table: Table) -> list[tuple[Any, ...]]:
    try:
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    except (OverflowError, ValueError) as error:
        raise UserError(f"query: a value of the result cannot be shown ({error}); cast it to varchar") from error


def _markdown(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A table of GitHub's Markdown; what would be read as markup is escaped."""
    from titans_lab.cli.output import distinct, shown

    yield _line(distinct(names))
    yield _line(["---"] * len(names), escape=False)
    yield from (_line([shown(value) for value in row]) for row in rows)


def _line(cells: Sequence[str], escape: bool = True) -> str:
    return f"| {' | '.join(map(_escaped, cells) if escape else cells)} |"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>|" else letter for letter in text).replace("&", "&amp;")
