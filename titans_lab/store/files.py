"""Files that are there whole or not at all, and what is said of those that are damaged nevertheless."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError


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
    """Put a `temporary_file` at `path` unless there is a file; whether it is this one, on NFS too."""
    with suppress(FileExistsError):  # said, too, where the answer to our own link was lost and it was sent again
        os.link(temporary, path)
    ours = temporary.stat().st_nlink == 2
    sync_folder(path.parent)
    return ours


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """`write_bytes` of a JSON object; NaN and infinities as Python writes them."""
    write_bytes(path, json_bytes(record))


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """What `read_json` reads."""
    return json.dumps(record, indent=1).encode() + b"\n"


def read_bytes(path: Path) -> bytes:
    """The content; FileNotFoundError where there is none, DamagedError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(path, f"cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object that `write_json` wrote; FileNotFoundError or DamagedError."""
    try:
        record = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(path, f"is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DamagedError(path, "is not a JSON object")
    return record


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
