"""Read zstd and the text of Parquet and Arrow files through pyarrow."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1024  # rows in memory at a time
PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"  # the first bytes of tables
END_OF_STREAM = ARROW_STREAM + bytes(4)


def unpacked_zstd(file: BinaryIO) -> BinaryIO:
    """Return a reader of a zstd file. Reading raises OSError where the file is damaged or ends early."""
    return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(file, "zstd")))


def table_rows(file: BinaryIO, column: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet or Arrow file with only one column, or with all where it has no such column.

    Raises:
        OSError: The file is damaged.
    """
    begin = file.read(len(ARROW_FILE))
    file.seek(0)
    try:
        for batch in _parquet(file, column) if begin.startswith(PARQUET) else _arrow(file, column, begin):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def _parquet(file: BinaryIO, column: str) -> Iterator[pa.RecordBatch]:
    table = pq.ParquetFile(file)
    columns = [column] if column in table.schema_arrow.names else None
    yield from table.iter_batches(ROWS, columns=columns)


def _arrow(file: BinaryIO, column: str, begin: bytes) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow file or stream. A stream may end without a mark, but not one in a file."""
    if begin == ARROW_FILE:
        table = pa.ipc.open_file(file)
        batches: Iterator[pa.RecordBatch] = map(table.get_batch, range(table.num_record_batches))
    else:
        file.seek(-len(END_OF_STREAM), os.SEEK_END)
        if file.read() != END_OF_STREAM:
            raise OSError("it is cut off: the mark of its end is missing")
        file.seek(0)
        batches = pa.ipc.open_stream(file)
    for batch in batches:
        chosen = batch.select([column]) if column in batch.schema.names else batch
        chosen.validate(full=True)  # its offsets, which pyarrow follows without a check
        for start in range(0, len(chosen), ROWS):
            yield chosen.slice(start, ROWS)
