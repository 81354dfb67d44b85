"""Write the file that a user names with `-o FILE`."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from titans_lab.errors import UserError


def write_output(path: Path, content: bytes) -> None:
    """Write `content` to a file that the user named: see `output_file`."""
    with output_file(path) as file:
        file.write(content)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that the user named, for writing.

    A regular file appears, or replaces the old one, when everything is written, and not if an error occurs before. A
    link stays a link: its target is replaced. Anything that is not a regular file, such as a device or a FIFO, is
    written to directly, because replacing it would destroy it.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with _appended(path) if _is_stream(path) else _replaced(path) as file:
            yield file
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader of a FIFO has stopped reading
            return
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from error


def _is_stream(path: Path) -> bool:
    """Return whether `path` is no regular file, or the system's name of an open one, such as /dev/stdout."""
    named = path.absolute().parts
    try:
        return named[1:2] in (("dev",), ("proc",)) or not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _appended(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
        yield file


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
