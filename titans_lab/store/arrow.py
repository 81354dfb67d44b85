"""Convert plain values from JSON to Arrow, with the fixed types of a view."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from types import NoneType
from typing import TYPE_CHECKING, Any

from titans_lab.store.columns import Column, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow import Table as Table  # for annotations where pyarrow is not to be imported

Row = dict[str, Any]


@cache
def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of these columns."""
    import pyarrow as pa

    return pa.schema([(column.name, _arrow_type(column.shape)) for column in columns])


def table(rows: list[Row], columns: tuple[Column, ...]) -> pa.Table:
    """Return rows that `conform` made as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema(columns))


def parquet(table: pa.Table, small: bool = False) -> bytes:
    """Return the content of a Parquet file.

    A `small` one leaves out statistics and dictionaries: it reads 3x as fast.
    """
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    if small:
        pq.write_table(
            table, buffer, compression="lz4", use_dictionary=False, write_statistics=False, store_schema=False
        )
    else:
        pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def dataset(content: bytes) -> ds.Dataset:
    """Return the rows of a Parquet file in memory, decoded when they are read."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    form = ds.ParquetFileFormat()
    fragment = form.make_fragment(pa.py_buffer(content))
    return ds.FileSystemDataset([fragment], fragment.physical_schema, form)


def together(known: ds.Dataset, others: pa.Table) -> ds.Dataset:
    """Return the rows of a dataset and of a table as one dataset."""
    import pyarrow.dataset as ds

    return ds.UnionDataset(known.schema, [known, ds.dataset(others)]) if len(others) else known


def collect(
    rows: Sequence[Mapping[str, Any]], columns: tuple[Column, ...], complain: Callable[[int, str], object]
) -> pa.Table:
    """Return any values as a table, column by column. `complain` gets the number of a row and what is wrong with it."""
    import pyarrow as pa

    arrays = [
        _array([each.get(column.name) for each in rows], column.shape, complain, column.name) for column in columns
    ]
    return pa.Table.from_arrays(arrays, schema=schema(columns))


def repeated(values: Sequence[str], counts: Sequence[int]) -> pa.Array:
    """Return each text as often as its count says."""
    import numpy as np
    import pyarrow as pa

    return pa.array(values, pa.string()).take(pa.array(np.repeat(np.arange(len(values)), counts)))


def where_in(table: pa.Table, column: str, values: Iterable[str]) -> pa.Table:
    """Return the rows whose value in a column is one of some texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table[column], pa.array(list(values), pa.string())))


def named(columns: Sequence[pa.ChunkedArray], names: Sequence[str]) -> pa.Table:
    """Return columns as a table. Two columns may share a name."""
    import pyarrow as pa

    return pa.Table.from_arrays(columns, names=list(names))


def number(column: pa.ChunkedArray, integer: bool) -> pa.ChunkedArray:
    """Return a column in the simplest numeric type that holds all of its digits; other columns are returned unchanged.

    Args:
        column: Any values.
        integer: Whether these are texts of integers, of any size.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if integer:
        with suppress(pa.ArrowInvalid):  # more than 76 digits stay a text
            column = column.cast(pa.decimal256(76, 0))
    if not pa.types.is_decimal(column.type):
        return column
    if column.type.scale > 0:
        with suppress(pa.ArrowInvalid):
            rounded = column.cast(pa.float64())
            return rounded if rounded.cast(column.type).equals(column) else column
        return column
    largest = pc.max(pc.abs(column)).as_py() or 0
    if largest < 2**63:
        return column.cast(pa.int64())
    return column.cast(pa.decimal128(38, 0)) if largest < 10**38 else column


def row(values: Mapping[str, Any], columns: Iterable[Column], complain: Callable[[str], object]) -> Row:
    """Return `values` with exactly these columns.

    A missing value is null, and one of another type is null and reported.
    """
    return {column.name: conform(values.get(column.name), column.shape, complain, column.name) for column in columns}


def conform(value: Any, shape: ColumnType, complain: Callable[[str], object], where: str) -> Any:
    """Return `value` converted to `shape`; if that fails, return null and report it with `where` in front."""
    if value is None:
        return None
    try:
        if not isinstance(shape, dict):
            return _CONVERT[shape](value)
        if not isinstance(value, dict):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        complain(f"{where}: {brief(value)} is not of type {shape.__name__ if isinstance(shape, type) else 'object'}")
        return None
    return {name: conform(value.get(name), inner, complain, f"{where}.{name}") for name, inner in shape.items()}


def brief(value: Any) -> str:
    """Return a value as a message names it: the beginning of its text."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _array(values: list[Any], shape: ColumnType, complain: Callable[[int, str], object], where: str) -> pa.Array:
    import pyarrow as pa

    if isinstance(shape, dict):
        return _structs(values, shape, complain, where)
    if set(map(type, values)) <= {shape, NoneType}:  # the usual case, at a tenth of the time
        with suppress(pa.ArrowInvalid, OverflowError, UnicodeError, TypeError):
            return pa.array(values, _arrow_type(shape))
    conformed = [
        conform(value, shape, partial(complain, number), where)  # one by one, to say which is wrong
        for number, value in enumerate(values)
    ]
    return pa.array(conformed, _arrow_type(shape))


def _structs(values: list[Any], shape: dict[str, Any], complain: Callable[[int, str], object], where: str) -> pa.Array:
    import pyarrow as pa

    for number, value in enumerate(values):
        if value is not None and not isinstance(value, dict):
            values[number] = conform(value, shape, partial(complain, number), where)
    inner = [
        _array([None if value is None else value.get(name) for value in values], part, complain, f"{where}.{name}")
        for name, part in shape.items()
    ]
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(inner, fields=list(_arrow_type(shape)), mask=absent)


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


def _arrow_type(shape: ColumnType) -> pa.DataType:
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
