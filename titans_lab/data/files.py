"""Files that a user names as data: their bytes, unpacked, and what is said when one cannot be read."""

from __future__ import annotations

import csv
import errno
import gzip
import stat
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from titans_lab.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"

Row = tuple[int, list[str]]  # its line, counted from 1, and its cells


def read_bytes(path: str, key: str, wanted: str) -> bytes:
    """The content of a file, unpacked if it is gzip.

    Args:
        path: The file.
        key: Where it was named, for errors: "data.path".
        wanted: What it should be, for errors: "a CSV file, plain or gzip".

    Raises:
        UserError: It cannot be read, is damaged gzip, or holds nothing.
    """
    content = read_any_bytes(path, key, wanted)
    if not content.strip():
        raise UserError(f"{key}: {path} is empty; give {wanted}")
    return content


def read_any_bytes(path: str, key: str, wanted: str) -> bytes:
    """`read_bytes`, where an empty file will do."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{key}: {path} is damaged gzip ({error}); fetch or compress it again") from error
    except OSError as error:
        raise _unreadable(path, error, key, wanted) from error


def signature(path: str, key: str, wanted: str) -> tuple[int, int]:
    """Size and time of change of a file: what was found out about it holds while these do. Raises UserError."""
    if "\0" in path:
        raise UserError(f"{key}: {path!r} is no path: it holds a zero byte")
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error, key, wanted) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{key}: {path} is no file, but a folder, a device or a pipe; give {wanted}")
    return status.st_size, status.st_mtime_ns


def _unreadable(path: str, error: OSError, key: str, wanted: str) -> UserError:
    origin = ". The first lines of the study may say where to get it" if error.errno == errno.ENOENT else ""
    return UserError(
        f"{key}: cannot read {path:.200} ({error.strerror}); give {wanted}, relative to {Path.cwd()}{origin}"
    )


def table(content: bytes, path: str) -> tuple[list[str], Iterator[Row]]:
    """The column names and the rows of a text with one header line, separated by tabs if that has one, else by commas.

    Raises:
        UserError: Naming file and line, where a row has other than a cell for each column.
    """
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    rows = csv.reader(lines, delimiter="\t" if "\t" in lines[0] else ",")
    names = next(rows)
    return names, _even(rows, len(names), path)


def _even(rows: Iterator[list[str]], columns: int, path: str) -> Iterator[Row]:
    for line in count(2):
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path}:{line}: not a table: {error}; mend or remove the line") from error
        if len(cells) != columns:
            raise UserError(
                f"{path}:{line}: {len(cells)} cells, and the header names {columns} columns; "
                "complete or remove the line, or fetch the file again"
            )
        yield line, cells
