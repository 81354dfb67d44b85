"""What was found out by reading a file, remembered for as long as the file is unchanged.

A file of many gigabytes is hashed once on a machine, and not by each plan and each worker. It counts as unchanged while
its device, inode and size and the times of its last write and last change stay what they were. The time of change
(ctime) is the kernel's: no program can set it back. What was written to a moment ago may be written to again within the
grain of these times, so that nothing is remembered of it.

The memory is a folder of the user's own cache, `$XDG_CACHE_HOME/titans-lab/data`. What others could write to is not
believed, and everything is read anew.
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

GRAIN = 2_000_000_000  # nanoseconds; the coarsest clock of a file system, that of FAT
LARGEST_ENTRY = 1 << 16  # bytes

known: dict[tuple[str, Signature], Any] = {}


def remembered(path: Path, key: str, wanted: str, kind: str, find: Callable[[BinaryIO], Any]) -> Any:
    """Return what `find` finds in a file, or found in it when it was last read.

    Args:
        path: The file.
        key: Where it was named, for errors: "data.path".
        wanted: What it should be, for errors: "a CSV file".
        kind: One word for what `find` finds; part of the name of the entry.
        find: Reads the open file; its result is plain data, as JSON has it.

    Raises:
        UserError: As `open_file` and `find`, or the file is being written to.
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
    """Return the SHA-256 of a file's bytes, as they lie on the disk, in hex. Raises UserError as `remembered`."""
    return remembered(
        path, key, wanted, "file", lambda file: hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    )


def user_folder() -> Path | None:
    """Return the folder of what is remembered, made at need; None where there is none that is the user's alone."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        caches = Path(given) if given.startswith("/") else Path.home() / ".cache"
        folder = caches / "titans-lab" / "data"
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(each):
                return None
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    return folder


def _is_own(folder: Path) -> bool:
    """Whether this is a folder, and no link to one, which nobody else may read or write."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _read(stored: Path | None, signature: Signature) -> Any:
    """Return what an entry says of a file with this signature; None where it says nothing."""
    if stored is None:
        return None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with stored.open("rb") as file:
            record = json.loads(file.read(LARGEST_ENTRY))
        if isinstance(record, dict) and record.get("signature") == list(signature):
            return record.get("found")
    return None


def _write(stored: Path | None, signature: Signature, found: Any) -> None:
    """Put an entry in its place. A full disk is no reason to stop: the file is read again then."""
    if stored is None:
        return
    temporary = stored.with_name(f".{secrets.token_hex(8)}.tmp")
    with contextlib.suppress(OSError):
        try:
            temporary.write_text(json.dumps({"signature": list(signature), "found": found}))
            temporary.replace(stored)
        finally:
            temporary.unlink(missing_ok=True)
