"""Checkpoints on disk. Each is whole or absent. A run keeps the last two until it is finished.

    attempts/<n>/checkpoint-<step>-<hash>.pt    <hash>: the first 16 digits of the content's SHA-256

`titans_lab.training.checkpoint` decides what they contain.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from titans_lab.input import open_regular
from titans_lab.store.files import DamagedError, sync_folder
from titans_lab.store.folder import Attempt, RunFolder

KEPT = 2  # one may be damaged
_DIGITS = 16
CHECKPOINT = rf"checkpoint-(\d{{1,18}})-([0-9a-f]{{{_DIGITS}}})\.pt"
_NAME = re.compile(CHECKPOINT)
_LEFT_OVER = ".checkpoint-*.tmp"


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk.

    Attributes:
        path: The path of the file.
        step: The optimiser step after which it was written.
        digest: The hash of its content, as the file's name has it.
    """

    path: Path
    step: int
    digest: str

    @property
    def attempt(self) -> Attempt:
        """Return the attempt that wrote it."""
        return Attempt(self.path.parent)

    def check(self) -> None:
        """Raise DamagedError where the file is not what was written."""
        try:
            with open_regular(self.path) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
        except OSError as error:
            raise DamagedError(self.path, f"cannot be read: {error.strerror}") from error
        if found != self.digest:
            raise DamagedError(self.path, "is not what was written: its SHA-256 is not the one in its name")


class _Hashing:
    """A writable file that hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def save_checkpoint(attempt: Attempt, step: int, write: Callable[[IO[bytes]], object]) -> None:
    """Keep what `write` writes as the attempt's checkpoint after `step`, and the one before. Delete older ones."""
    temporary = attempt.path / f".checkpoint-{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            hashing = _Hashing(file)
            write(cast(IO[bytes], hashing))  # `torch.save` needs only write and flush
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(attempt.path / f"checkpoint-{step}-{hashing.sha256.hexdigest()[:_DIGITS]}.pt")
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(attempt.path)
    drop_checkpoints(attempt, KEPT)


def checkpoints(folder: RunFolder) -> list[Saved]:
    """Return the checkpoints of a run, the last one first, not yet checked."""
    return _last_first(folder.attempts())


def drop_checkpoints(attempt: Attempt, kept: int = 0) -> None:
    """Delete all but the last `kept` checkpoints of an attempt and of those before it, and what a kill left of any.

    A later attempt's checkpoints stay: its worker has taken over the run.
    """
    attempts = [path for path in attempt.folder.attempts() if int(path.name) <= attempt.number]
    for saved in _last_first(attempts)[kept:]:
        if not saved.path.is_dir():  # a folder of that name is no checkpoint: `doctor` names it
            saved.path.unlink(missing_ok=True)
    for path in attempts:
        for left_over in path.glob(_LEFT_OVER):
            left_over.unlink(missing_ok=True)


def _last_first(attempts: Iterable[Path]) -> list[Saved]:
    found = [saved for path in attempts for saved in _of_attempt(path)]
    return sorted(found, key=lambda saved: (saved.attempt.number, saved.step), reverse=True)


def _of_attempt(path: Path) -> Iterator[Saved]:
    for entry in path.iterdir():
        if match := _NAME.fullmatch(entry.name):
            yield Saved(entry, int(match[1]), match[2])
