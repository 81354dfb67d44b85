"""Verbs that read the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from titans_lab.cli.arguments import AsCsv, AsJson, StoreFolder, open_store
from titans_lab.cli.formats import Format, chosen, write
from titans_lab.errors import UserError
from titans_lab.store.columns import VIEWS


def query(
    sql: Annotated[
        str | None,
        typer.Argument(metavar="SQL", help=f"One SELECT over the views {', '.join(VIEWS)}, or with --columns a view."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read the SQL from a file.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A text for $name in the SQL; once for each."),
    ] = None,
    columns: Annotated[
        bool, typer.Option("--columns", help="List what can be asked for: of one view, or of all.")
    ] = False,
    form: Annotated[Format | None, typer.Option("--format", help="Else by the name of the file, else a table.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.")] = None,
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask the store a question in SQL (DuckDB's), which can change nothing and read nothing else.

    `--columns` lists the columns of the views; sections of a configuration read as model.memory.depth or train.lr.
    """
    wanted = chosen(form, as_csv, as_json, output)
    if columns:
        from titans_lab.store.catalogue import table

        write(table(sql), wanted, output)
        return
    from titans_lab.store.query import ask

    answer = ask(open_store(store).root, _sql(sql, file), _parameters(parameters or ()))
    for damage in answer.damage:
        typer.echo(f"warning: {damage}", err=True)
    write(answer.table, wanted, output)


def _sql(sql: str | None, file: Path | None) -> str:
    """The statement, from wherever it is given."""
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
    """Values by name, as texts, which SQL compares with numbers too."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"-p {each}: write NAME=VALUE, for $NAME in the SQL")
        if name in found:
            raise UserError(f"-p {each}: {name} has a value already; give each name once")
        found[name] = value
    return found
