"""From JSON to Arrow: plain values brought to the fixed types of a view."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from titans_lab.store.columns import Column, Shape

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import Table as Table  # for annotations where pyarrow is not to be imported

Row = dict[str, Any]


@cache
def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of these columns."""
    import pyarrow as pa

    return pa.schema([(column.name, _arrow_type(column.shape)) for column in columns])


def table(rows: list[Row], columns: Iterable[Column]) -> pa.Table:
    """Rows that `conform` made, as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema(columns))


def parquet(table: pa.Table, small: bool = False) -> bytes:
    """The content of a Parquet file; of a `small` one without what only pays in large ones, which is a third as long to read."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    if small:
        pq.write_table(table, buffer, compression="lz4", use_dictionary=False, write_statistics=False, store_schema=False)
    else:
        pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def row(values: Mapping[str, Any], columns: Iterable[Column], complain: Callable[[str], object]) -> Row:
    """`values` with exactly these columns: null where one is missing, or is of another type; the latter is told."""
    return {column.name: conform(values.get(column.name), column.shape, complain, column.name) for column in columns}


def conform(value: Any, shape: Shape, complain: Callable[[str], object], where: str) -> Any:
    """`value` brought to `shape`; null, and a complaint that begins with `where`, if it is something else."""
    if value is None:
        return None
    try:
        if not isinstance(shape, dict):
            return _CONVERT[shape](value)
        if not isinstance(value, dict):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        complain(f"{where}: {value!r} is no {shape.__name__ if isinstance(shape, type) else 'object'}")
        return None
    return {name: conform(value.get(name), inner, complain, f"{where}.{name}") for name, inner in shape.items()}


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or abs(value) >= 2**63:
        raise TypeError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.encode("utf-8", "replace").decode()  # JSON can hold half a surrogate pair, Arrow cannot


def _datetime(value: Any) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None)


_CONVERT: dict[type, Callable[[Any], Any]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
    datetime: _datetime,
}


def _arrow_type(shape: Shape) -> pa.DataType:
    import pyarrow as pa

    if isinstance(shape, dict):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in shape.items()])
    leaves = {
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        str: pa.string(),
        datetime: pa.timestamp("us"),
    }
    return leaves[shape]
