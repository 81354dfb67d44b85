"""Verbs that read the records."""

from __future__ import annotations

from typing import Annotated

import typer

from titans_lab.cli.arguments import AsCsv, AsJson, StoreFolder, open_store
from titans_lab.errors import UserError
from titans_lab.store.columns import VIEWS


def query(
    sql: Annotated[str, typer.Argument(help=f"One SELECT over the views {', '.join(VIEWS)}.")],
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask the store a question in SQL (DuckDB's), which can change nothing and read nothing else.

    `describe runs` lists the columns of a view; sections of a configuration read as model.memory.depth or train.lr.
    """
    from titans_lab.cli.output import print_rows
    from titans_lab.store.query import ask

    answer = ask(open_store(store).root, sql)
    for damage in answer.damage:
        typer.echo(f"warning: {damage}", err=True)
    try:
        values = list(zip(*(column.to_pylist() for column in answer.table.columns), strict=True))
    except (OverflowError, ValueError) as error:
        raise UserError(f"query: a value of the result cannot be shown ({error}); cast it to varchar") from error
    print_rows(answer.table.column_names, values, as_csv, as_json)
