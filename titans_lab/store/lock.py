"""Who runs a run: an flock on its folder, which the kernel drops however the holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from titans_lab.errors import UserError

LOCK = "lock"
RETRY_SECONDS = 0.002


class AlreadyRunning(UserError):
    """Another process runs this run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is running it; wait for its end, or end that process")


@contextmanager
def hold_lock(folder: Path) -> Iterator[int]:
    """Be the one that runs `folder`; AlreadyRunning where another process is.

    Yields the descriptor: a child process that inherits it holds the lock too, until the last of them closes it.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not _try(descriptor, fcntl.LOCK_EX):
            # Shared locks go together: only a holder makes this fail. Else somebody is in `is_held` just now.
            if not _try(descriptor, fcntl.LOCK_SH):
                raise AlreadyRunning(folder)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(RETRY_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock.

    flock has no test that takes nothing (F_GETLK sees other kinds of lock, /proc/locks only Linux has), so this takes
    a shared lock for a moment, on a file opened for reading; `hold_lock` tells that from a holder.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
