"""The folder for code that is compiled on a user's machine. It is private, because its content is later executed."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import warnings
from functools import cache
from pathlib import Path


@cache
def cache_folder(name: str) -> Path:
    """Return a folder of the user's own: `titans/<name>` below `$XDG_CACHE_HOME`, which is `~/.cache` by default.

    If it cannot be created, warn and return a temporary folder that is removed when the process ends.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = private_folder(base / "titans") / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        warnings.warn(f"compiled code is not kept for the next process: {error}", stacklevel=2)
        folder = Path(tempfile.mkdtemp(prefix="titans-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner can enter, or make an existing one such a folder, and return it.

    Raises:
        PermissionError: The path is a link or a file, belongs to somebody else, or others can write to it, so that its
            content cannot be trusted.
        OSError: The folder cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{path} is not a folder; remove it") from None
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to user {found.st_uid}, not to you; remove it") from None
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"others can write to {path}; remove it") from None
        path.chmod(0o700)
    return path
