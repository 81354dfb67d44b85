"""Open and unpack data files that a user names. Refuse binary files and anything but regular files."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np

from titans_lab.errors import UserError
from titans_lab.input import NotRegular, open_regular

BLOCK = 1 << 20  # bytes
LARGEST = 2**30  # unpacked bytes of a file that is read into memory
COMPRESSED = "plain, gzip, bz2, xz or zstd"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

GZIP, BZ2, XZ, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"  # first bytes of compressed files
#: The errors of reading a compressed file that is damaged or ends early.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError)
#: The first bytes of files that are no text, their kind, and the remedy.
FOREIGN = {
    b"PAR1": ("a Parquet file", "`titans-lab data prepare FILE -o FOLDER` reads its text"),
    b"ARROW1": ("an Arrow file", "`titans-lab data prepare FILE -o FOLDER` reads its text"),
    b"Obj\x01": ("an Avro file", "write its text as Parquet or JSON lines"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a\x07": ("a rar archive", "unpack it"),
    b"\x04\x22\x4d\x18": ("compressed by lz4", "unpack it"),
    b"\xff\xfe": ("text in UTF-16", "write it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "write it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    b"%PDF-": ("a PDF", "write its text to a file"),
}
TAR, TAR_AT = b"ustar", 257
SAMPLE = 1 << 16  # bytes
MOST_CONTROLS = 0.01  # largest share of control characters in a text; compressed data have a tenth
_CONTROLS = np.isin(np.arange(256), list(set(range(32)) - set(b"\t\n\v\f\r\b\x1b")))

Row = tuple[int, list[str]]  # the number of its line, from 1, and its cells


class Signature(NamedTuple):
    """Facts about a file that change whenever it is written: device, inode, size and times."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def open_file(path: str | Path, key: str, wanted: str) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: The file.
        key: The key that names the file, for errors, such as "data.path".
        wanted: The expected kind of file, for errors, such as "a CSV file".

    Raises:
        UserError: The file cannot be read, or is no regular file. A device or a pipe may never end.
    """
    if "\0" in str(path):
        raise UserError(f"{key}: {str(path)!r} is not a path: it holds a zero byte")
    try:
        return open_regular(path)
    except (IsADirectoryError, NotRegular) as error:
        found = "a folder" if isinstance(error, IsADirectoryError) else "a device or a pipe"
        raise UserError(f"{key}: {path} is {found}, not a file; give {wanted}") from error
    except OSError as error:
        origin = ". The first lines of the study may say where to get it" if error.errno == errno.ENOENT else ""
        raise UserError(
            f"{key}: cannot read {path!s:.200} ({error.strerror}); give {wanted}, relative to {Path.cwd()}{origin}"
        ) from error


def signature(path: str | Path, key: str, wanted: str) -> Signature:
    """Return the signature of a file without reading it. Raise UserError as `open_file` does."""
    with open_file(path, key, wanted) as file:
        return signature_of(file)


def signature_of(file: IO[bytes]) -> Signature:
    """Return the signature of an open file."""
    status = os.fstat(file.fileno())
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_bytes(path: str | Path, key: str, wanted: str) -> bytes:
    """Return the unpacked content of a text file.

    Args:
        path: The file, plain or compressed.
        key: The key that names the file, for errors, such as "data.path".
        wanted: The expected kind of file, for errors, such as "a CSV file".

    Raises:
        UserError: The file cannot be read, is damaged, is not text, is empty, or is too large for memory.
    """
    with open_file(path, key, wanted) as file:
        return read_content(file, str(path), key, wanted)


def read_content(file: BinaryIO, path: str, key: str, wanted: str) -> bytes:
    """Return the unpacked content of an open text file, as `read_bytes` does."""
    size = signature_of(file).size
    if size > LARGEST:
        raise _too_large(path, key)
    try:
        # A file of the kernel, such as /proc/kmsg, has size 0 and may block its reader for ever.
        content = unpacked(file).read(LARGEST + 1) if size else b""
    except DAMAGE as error:
        raise UserError(f"{key}: {path} is damaged or cut off ({error}); fetch or compress it again") from error
    if len(content) > LARGEST:
        raise _too_large(path, key)
    if not content.strip():
        raise UserError(f"{key}: {path} is empty; give {wanted}")
    refuse_foreign(content, f"{key}: {path}", wanted)
    return content.removeprefix(BYTE_ORDER_MARK)


def unpacked(file: BinaryIO) -> BinaryIO:
    """Return a reader that unpacks a file by its first bytes. Reading a damaged file raises one of `DAMAGE`."""
    begin = file.read(max(map(len, (GZIP, BZ2, XZ, ZSTD))))
    file.seek(0)
    if begin.startswith(ZSTD):
        from titans_lab.data.arrow import unpacked_zstd

        return unpacked_zstd(file)
    if begin.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if begin.startswith(BZ2):
        return cast(BinaryIO, bz2.BZ2File(file))
    return cast(BinaryIO, lzma.LZMAFile(file)) if begin.startswith(XZ) else file


def refuse_foreign(begin: bytes, place: str, wanted: str) -> None:
    """Raise UserError where the first bytes of a file are clearly no text.

    Args:
        begin: The unpacked bytes. At most `SAMPLE` of them at either end and in the middle are checked.
        place: The beginning of the error: key and file.
        wanted: The expected kind of file.
    """
    found = next((facts for magic, facts in FOREIGN.items() if begin.startswith(magic)), None)
    if begin[TAR_AT : TAR_AT + len(TAR)] == TAR:
        found = ("a tar archive", "unpack it")
    if found:
        raise UserError(f"{place} is {found[0]}, no text; {found[1]}")
    middle = len(begin) // 2
    for part in (begin[:SAMPLE], begin[middle : middle + SAMPLE], begin[-SAMPLE:]):
        share = _CONTROLS[np.frombuffer(part, np.uint8)].mean() if part else 0
        if share > MOST_CONTROLS:
            raise UserError(
                f"{place} is not text: {share:.0%} of its bytes are control characters, as in compressed or binary "
                f"data; give {wanted}"
            )


def _too_large(path: str, key: str) -> UserError:
    return UserError(
        f"{key}: {path} has more than {LARGEST} bytes, unpacked: too large to read each time; "
        f"read it once with `titans-lab data prepare {path} -o FOLDER`, and then data.path=FOLDER"
    )


def table(content: bytes, path: str) -> tuple[list[str], Iterator[Row]]:
    """Return the column names and the rows of a text with one header line.

    Cells are separated by tabs if the header has one, else by commas. Blank lines at the end are no rows.

    Raises:
        UserError: A row has not one cell for each column. The message names the line.
    """
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    while not lines[-1].strip():
        lines.pop()
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
