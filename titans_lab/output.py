"""The file that a user names with `-o`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from titans_lab.errors import UserError
from titans_lab.store.files import sync_folder, temporary_file

#: Open files of the process: their names lead to a file that somebody else holds open as well.
STREAMS = ("/dev/fd/", "/dev/std", "/proc/")


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open the file that `path` leads to, for writing; an error inside the block leaves a regular file as it was.

    A regular file is replaced by a rename once it is whole, and keeps its permissions. A symbolic link is followed, and
    stays. A device, a FIFO or a standard stream is written to and stays what it is. Missing folders are made.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        mode = path.stat().st_mode if path.exists() else None
        if mode is not None and (not stat.S_ISREG(mode) or os.fspath(path.absolute()).startswith(STREAMS)):
            with path.open("ab") as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(target, b"") as temporary:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); name another file") from error


def write_output(path: Path, content: str | bytes) -> None:
    """Write `content` to the file that `path` leads to: see `output_file`."""
    with output_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode(errors="replace"))
