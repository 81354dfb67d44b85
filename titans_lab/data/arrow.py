"""Read zstd and the text of Parquet files through pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1024  # rows in memory at a time


def unpacked_zstd(file: BinaryIO) -> BinaryIO:
    """Return a reader of a zstd file. Reading raises OSError where the file is damaged or ends early."""
    return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(file, "zstd")))


def parquet_rows(file: BinaryIO, column: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file with only one column, or with all columns where it has no such column.

    Raises:
        OSError: The file is damaged.
    """
    try:
        table = pq.ParquetFile(file)
        columns = [column] if column in table.schema_arrow.names else None
        for batch in table.iter_batches(ROWS, columns=columns):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise OSError(str(error)) from error
