"""Cache what was computed from a file for as long as the file is unchanged.

A large file is hashed once on a machine, and not again by each plan and each worker. It counts as unchanged while its
device, inode, size, modification time and change time are the same. The kernel sets the change time (ctime), and no
program can set it back. A file that was written to a moment ago may be written to again within the resolution of these
times, so nothing is cached for it.

The cache is the folder `$XDG_CACHE_HOME/titans-lab/data`. If other users could write to it, it is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from titans_lab.data.files import Signature, open_file, signature_of
from titans_lab.errors import UserError

GRAIN = 2_000_000_000  # nanoseconds: the coarsest resolution of file times, that of FAT
LARGEST_ENTRY = 1 << 16  # bytes

known: dict[tuple[str, Signature], Any] = {}


def remembered(path: Path, key: str, wanted: str, kind: str, find: Callable[[BinaryIO], Any]) -> Any:
    """Return the result of `find` on a file, or the cached result if the file is unchanged.

    Args:
        path: The file.
        key: The key that names the file, for errors, such as "data.path".
        wanted: The expected kind of file, for errors, such as "a CSV file".
        kind: One word for the result, which is part of the name of the cache entry.
        find: A function that reads the open file and returns plain JSON data.

    Raises:
        UserError: `open_file` or `find` raises it, or the file is being written.
    """
    with open_file(path, key, wanted) as file:
        before = signature_of(file)
        entry = kind, before
        if entry in known:
            return known[entry]
        folder = user_folder()
        stored = folder and folder / f"{before.device}-{before.inode}-{kind}.json"
        if (found := _read(stored, before)) is not None:
            known[entry] = found
            return found
        found = find(file)
        if signature_of(file) != before:
            raise UserError(f"{key}: {path} was written to while it was read; wait until it is whole")
    if time.time_ns() - max(before.modified, before.changed) > GRAIN:
        known[entry] = found
        _write(stored, before, found)
    return found


def file_digest(path: Path, key: str, wanted: str) -> str:
    """Return the SHA-256 of a file's bytes on the disk, in hex. Raise UserError as `remembered` does."""
    return remembered(
        path, key, wanted, "file", lambda file: hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    )


def user_folder() -> Path | None:
    """Return the folder of the cache, which is made if needed, or None where other users could write to it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        caches = Path(given) if given.startswith("/") else Path.home() / ".cache"
        folder = caches / "titans-lab" / "data"
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(each):
                return None
    except (OSError, RuntimeError):  # no home folder, or one that cannot be written
        return None
    return folder


def _is_own(folder: Path) -> bool:
    """Return whether a path is a folder, not a link, that nobody else may read or write."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _read(stored: Path | None, signature: Signature) -> Any:
    """Return the cached result for a file with this signature, or None where there is none."""
    if stored is None:
        return None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with stored.open("rb") as file:
            record = json.loads(file.read(LARGEST_ENTRY))
        if isinstance(record, dict) and record.get("signature") == list(signature):
            return record.get("found")
    return None


def _write(stored: Path | None, signature: Signature, found: Any) -> None:
    """Write a cache entry. If that fails, as on a full disk, the file will be read again."""
    if stored is None:
        return
    temporary = stored.with_name(f".{secrets.token_hex(8)}.tmp")
    with contextlib.suppress(OSError):
        try:
            temporary.write_text(json.dumps({"signature": list(signature), "found": found}))
            temporary.replace(stored)
        finally:
            temporary.unlink(missing_ok=True)
