"""Encode the result of a query in the requested format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError
from titans_lab.store.arrow import parquet
from titans_lab.tables import Format, to_text

if TYPE_CHECKING:
    from titans_lab.store.arrow import Table


def encode(table: Table, form: Format, width: int | None = None) -> bytes:
    """Return a table in one of the formats; `width` is that of a terminal, which a table is to fit.

    Raises:
        UserError: A value has no form in Python.
    """
    if form == "parquet":
        return parquet(table)
    return to_text(form, table.column_names, _rows(table), width).encode(errors="replace")


def _rows(table: Table) -> list[tuple[Any, ...]]:
    try:
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    except (OverflowError, ValueError) as error:
        raise UserError(f"query: a value of the result cannot be shown ({error}); cast it to varchar") from error
