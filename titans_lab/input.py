"""Open regular files only. Reading a device or a pipe in the place of a file might never end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class NotRegular(OSError):
    """A device, a pipe or a socket in the place of a file."""


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for whatever is there instead.

    Raises:
        IsADirectoryError: The path is a folder.
        NotRegular: The path is a device, a pipe or a socket.
        OSError: The file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is not waited for
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise NotRegular(errno.ENXIO, "is a device or a pipe, not a file", str(path)) from error
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise NotRegular(errno.EINVAL, "is a device or a pipe, not a file", str(path))
