"""Workers' logs on disk: JSON lines while a run is live, Parquet once it has ended. `LOGS` names the tables."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.input import open_regular
from titans_lab.store import arrow
from titans_lab.store.arrow import Row
from titans_lab.store.columns import METRICS, Column
from titans_lab.store.files import Damage, DamagedError, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

CHECK = "crc32"
#: The end of a line with a checksum. It also matches where a bit is flipped, so that the check then fails.
_CHECKED = re.compile(rb', "[^"]{5}": "[^"]{8}"\}\Z')
#: A line that was whole once and whose newline was overwritten.
_RUN_ON = re.compile(rb', "[^"]{5}": "[^"]{8}"\}.', re.DOTALL)
LINE_BYTES = 4096  # longer than any line of metrics
ROWS = 100_000  # of a Parquet file; more need a byte each, since the numbers of a training hardly repeat


def read_lines(path: Path, columns: tuple[Column, ...]) -> tuple[list[Row], list[Damage]]:
    """Return the complete lines of a log, and the damage of the others.

    A last line that a kill cut off is no damage. A missing file has no lines.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return [], []
    rows: list[Row] = []
    damage: list[Damage] = []
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        problems: list[str] = []
        row = _parse(line, columns, problems)
        if row is not None:
            rows.append(row)
        damage += [Damage(path, f"line {number}: {problem}") for problem in problems]
    if _RUN_ON.search(rest):
        damage.append(Damage(path, f"line {len(lines) + 1}: does not end with a newline, as it was written"))
    return rows, damage


def latest_row(path: Path) -> Row | None:
    """Return the result of `read_latest`, or None where it finds damage."""
    try:
        return read_latest(path)
    except DamagedError:
        return None


def read_latest(path: Path) -> Row | None:
    """Return the last complete line of metrics.jsonl, however long the file is, or None where there is none yet.

    Raise DamagedError where that line, or the file, cannot be read.
    """
    try:
        with open_regular(path) as lines:
            lines.seek(max(0, lines.seek(0, os.SEEK_END) - LINE_BYTES))
            *complete, rest = lines.read().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(path, f"cannot be read: {error.strerror}") from error
    problems = ["does not end with a newline, as it was written"] if _RUN_ON.search(rest) else []
    row = _parse(complete[-1], METRICS, problems) if complete else None
    if problems:
        raise DamagedError(path, f"last line: {problems[0]}")
    return row


def row_of(line: bytes) -> Row | None:
    """Return a line of metrics, or None where it is damaged."""
    return _parse(line, METRICS, [])


def to_parquet(rows: list[Row], columns: tuple[Column, ...]) -> bytes:
    """Return the rows of `read_lines` as a Parquet file."""
    return arrow.parquet(arrow.table(rows, columns), small=True)


def read_parquet(path: Path, columns: tuple[Column, ...], digest: Mapping[str, Any]) -> pa.Table:
    """Return the rows of a committed Parquet file. Raise DamagedError where it is not what was committed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = committed_bytes(path, digest)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if file.metadata.num_rows > max(ROWS, len(content)):
            raise DamagedError(path, f"has {file.metadata.num_rows} rows in {len(content)} bytes, which no run logs")
        return _aligned(file.read(use_threads=False), columns)
    except (pa.ArrowException, KeyError) as error:  # KeyError: two columns share a name
        raise DamagedError(path, f"cannot be read as {path.stem}: {error}") from error


def committed_bytes(path: Path, digest: Mapping[str, Any]) -> bytes:
    """Return the content of a committed file. Raise DamagedError where size or SHA-256 differ from the commit."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise DamagedError(path, "is missing") from None
    if digest != digest_of(content):
        raise DamagedError(path, "is not what status.json committed (size or SHA-256 differ)")
    return content


def digest_of(content: bytes) -> dict[str, Any]:
    """Return size and SHA-256 of a file's content, as status.json has them."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def to_line(values: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON whose last key is the CRC-32 of everything before it."""
    body = json.dumps(values).removesuffix("}")
    return f'{body}, "{CHECK}": "{zlib.crc32(body.encode()):08x}"}}\n'


def _parse(line: bytes, columns: tuple[Column, ...], problems: list[str]) -> Row | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        problems.append(f"is not JSON: {error}")
        return None
    if not isinstance(values, dict):
        problems.append("is not a JSON object")
        return None
    checked = _CHECKED.search(line)
    if checked and values.get(CHECK) != f"{zlib.crc32(line[: checked.start()]):08x}":
        problems.append("is not what was written (its CRC-32 differs)")
        return None
    return arrow.row(values, columns, problems.append)


def _aligned(table: pa.Table, columns: tuple[Column, ...]) -> pa.Table:
    """Return a table with today's columns: a missing one is null, and any other is dropped."""
    import pyarrow as pa

    schema = arrow.schema(columns)
    if table.schema.equals(schema):
        return table
    present = set(table.column_names)
    aligned = [
        table[field.name].cast(field.type) if field.name in present else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(aligned, schema=schema)
