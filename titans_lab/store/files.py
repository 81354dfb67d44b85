"""Write files that are whole or absent, and report those that are damaged nevertheless."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.input import open_regular

SEAL = "sha256"
#: The errors of link(2) where there are no hard links: FAT, some FUSE and cloud file systems, and across mounts.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV})
#: The end of a record with a checksum. It also matches where a few bits are flipped, so that the check then fails.
_SEALED = re.compile(rb',\n "[^"]{6}": "[^"]{64}"\n\}\n?\Z')


@dataclass(frozen=True)
class Damage:
    """A record that cannot be used, and the reason."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DamagedError(UserError):
    """A record exists and cannot be used. The error carries the `Damage`."""

    def __init__(self, path: Path, reason: str) -> None:
        self.damage = Damage(path, reason)
        super().__init__(str(self.damage))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, a kill or a power cut sees the old file or the new one."""
    with temporary_file(path, content) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """Write a temporary file next to `path`, flushed to disk, and delete it afterwards."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def link_new(temporary: Path, path: Path) -> bool:
    """Link a `temporary_file` to `path` unless that exists, and return whether it was linked. This is reliable on NFS.

    Raises:
        UserError: The file system has no hard links.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # NFS also answers this if the reply to our own link was lost and the request was repeated
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        raise UserError(
            f"{path.parent}: its file system has no hard links ({error.strerror}), by which runs are claimed and "
            "committed; name a store on a local disk or NFS with --store"
        ) from error
    ours = temporary.stat().st_nlink == 2
    sync_folder(path.parent)
    return ours


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record with its checksum: `write_bytes` of `json_bytes`."""
    write_bytes(path, json_bytes(record))


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON whose last key is the SHA-256 of everything before it; NaN and infinities are allowed."""
    if not record:
        return b"{}\n"
    body = json.dumps(record, indent=1).encode().removesuffix(b"\n}")
    return body + b',\n "%s": "%s"\n}\n' % (SEAL.encode(), hashlib.sha256(body).hexdigest().encode())


def read_bytes(path: Path) -> bytes:
    """Return the content. Raise FileNotFoundError where there is no file, DamagedError where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(path, f"cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the record that `write_json` wrote, or one without a checksum. Raise FileNotFoundError or DamagedError."""
    content = read_bytes(path)
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DamagedError(path, "is not a JSON object")
    sealed = _SEALED.search(content)
    if sealed and record.pop(SEAL, None) != hashlib.sha256(content[: sealed.start()]).hexdigest():
        raise DamagedError(path, "is not what was written (its SHA-256 differs)")
    return record


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
