"""The verb `query`, which asks the store in SQL."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Annotated

import typer

from titans_lab.cli.arguments import StoreFolder, duration, open_store, size
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import INTERRUPTED, note, width
from titans_lab.errors import UserError
from titans_lab.output import output_file
from titans_lab.store.views import VIEW_NAMES
from titans_lab.tables import Format, format_of

PAGE_WIDTH = 80  # characters of a line of `--columns` where there is no terminal


def query(
    sql: Annotated[
        str | None,
        typer.Argument(
            metavar="SQL", help=f"One SELECT over the views {', '.join(VIEW_NAMES)}, or with --columns a view."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read the SQL from a file.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="The text that $NAME stands for in the SQL."),
    ] = None,
    columns: Annotated[bool, typer.Option("--columns", help="List the columns of one view, or of all views.")] = False,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="The format. Default: by the name of the output file, else table. --csv and --json are short.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write. Default: standard output.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(parser=duration, metavar="DURATION", help="How long the statement may take.")
    ] = "60s",  # type: ignore[assignment]  # typer parses it
    memory: Annotated[
        int, typer.Option(parser=size, metavar="SIZE", help="How much memory the statement may take.")
    ] = "4G",  # type: ignore[assignment]
    store: StoreFolder = None,
) -> None:
    """Ask the store a question in SQL (DuckDB). A statement can read the views and nothing else, and change nothing.

    `--columns` lists the views' columns. Sections of a configuration read as model.memory.depth or train.lr.
    """
    wanted = form or format_of(output)
    if output is None and wanted == "parquet" and sys.stdout.isatty():
        raise UserError("query: parquet is not for a terminal; give -o FILE, or a pipe")
    fitted = width() if output is None else None
    if columns:
        from titans_lab.store.catalogue import table, text
        from titans_lab.store.formats import encode

        content = encode(table(sql), wanted) if wanted != "table" else text(sql, fitted or PAGE_WIDTH).encode()
        _write(io.BytesIO(content), output)
        return
    from titans_lab.store.bounded import Bounds, ask_bounded

    bounds, root = Bounds(timeout, memory), open_store(store).root
    statement, given = _sql(sql, file), _parameters(parameters or ())
    try:
        with terminable(), ask_bounded(root, statement, given, wanted, bounds, fitted) as reply:
            for warning in reply.warnings:
                note(f"warning: {warning}")
            _write(reply.content, output)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _write(content: IO[bytes], output: Path | None) -> None:
    if output is None:
        sys.stdout.flush()
        shutil.copyfileobj(content, sys.stdout.buffer)
        return
    with output_file(output) as file:
        shutil.copyfileobj(content, file)


def _sql(sql: str | None, file: Path | None) -> str:
    """Return the statement, from wherever it is given."""
    if sql is not None and file is None:
        return sql
    if sql is not None or file is None:
        raise UserError("query: give either SQL or --file FILE; --columns lists what can be asked for")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"--file {file}: cannot be read ({reason})") from error


def _parameters(given: Sequence[str]) -> dict[str, str]:
    """Return values by name. They are texts, which SQL compares with numbers too."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"-p {each}: write NAME=VALUE, for $NAME in the SQL")
        if name in found:
            raise UserError(f"-p {each}: {name} has a value already; give each name once")
        found[name] = value
    return found
