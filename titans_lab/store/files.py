"""Files that are there whole or not at all, and what is said of those that are damaged nevertheless."""

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
#: What link(2) answers where there are no hard links: on FAT, some file systems of FUSE and of clouds, across mounts.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV})
#: The end of a record with a checksum, also where a few of its bits are flipped: then it is not what it says.
_SEALED = re.compile(rb',\n "[^"]{6}": "[^"]{64}"\n\}\n?\Z')


@dataclass(frozen=True)
class Damage:
    """A record that cannot be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DamagedError(UserError):
    """A record that exists and cannot be used; carries the `Damage`."""

    def __init__(self, path: Path, reason: str) -> None:
        self.damage = Damage(path, reason)
        super().__init__(str(self.damage))


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` such that a reader, a kill or a power cut sees the old file or the new one."""
    with temporary_file(path, content) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """A file on the disk that is named after `path`, beside it, and gone afterwards."""
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
    """Put a `temporary_file` at `path` unless there is a file; whether it is this one, on NFS too.

    Raises:
        UserError: The file system has no hard links.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # said, too, where the answer to our own link was lost and it was sent again
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
    """`write_bytes` of `json_bytes`."""
    write_bytes(path, json_bytes(record))


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """An object, its last key the SHA-256 of all before that; NaN and infinities as Python writes them."""
    if not record:
        return b"{}\n"
    body = json.dumps(record, indent=1).encode().removesuffix(b"\n}")
    return body + b',\n "%s": "%s"\n}\n' % (SEAL.encode(), hashlib.sha256(body).hexdigest().encode())


def read_bytes(path: Path) -> bytes:
    """The content; FileNotFoundError where there is none, DamagedError where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(path, f"cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object that `write_json` wrote, or one without a checksum; FileNotFoundError or DamagedError."""
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
