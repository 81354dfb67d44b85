"""Write the records of an attempt while it runs, and its commit at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titans_lab.store.checkpoints import drop_checkpoints
from titans_lab.store.columns import LOGS
from titans_lab.store.files import (
    DamagedError,
    json_bytes,
    link_new,
    read_bytes,
    temporary_file,
    write_bytes,
    write_json,
)
from titans_lab.store.folder import Attempt
from titans_lab.store.logs import digest_of, read_lines, to_line, to_parquet
from titans_lab.store.status import COMMITTED, FINISHED, Status

TAIL_BYTES = 8192
_COLUMNS = {log: frozenset(column.name for column in columns) for log, columns in LOGS.items()}


#: The position of an attempt in its logs: the `digest_of` the lines of each of `LOGS`.
Position = dict[str, dict[str, Any]]


class Recorder:
    """Writes the records of one attempt, for the process that executes it."""

    def __init__(self, attempt: Attempt, env: Mapping[str, Any]) -> None:
        """Write env.json: `env` (host, device, device_name, python, torch, commit, ...) and the start time."""
        self.attempt = attempt
        self.env: dict[str, Any] = {}
        self._written = {log: _Written() for log in LOGS}
        self.note({**env, "started": _now()})

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts to env.json."""
        self.env |= facts
        write_json(self.attempt.env_path, self.env)

    def log(self, **row: float | None) -> None:
        """Add a line of metrics: see `add`."""
        self.add("metrics", [row])

    def add(self, log: str, rows: Iterable[Mapping[str, str | float | None]]) -> None:
        """Add lines to one of `LOGS`, which readers see immediately. A column that is left out is null."""
        lines = []
        for row in rows:
            assert row.keys() <= _COLUMNS[log], f"not columns of {log}: {row.keys() - _COLUMNS[log]}"
            lines.append(to_line(row))
        self._append(log, "".join(lines).encode())

    def position(self) -> Position:
        """Flush the logs to disk, and return the position after their last line."""
        for log, written in self._written.items():
            if written.size:
                with self.attempt.lines_path(log).open("rb") as lines:
                    os.fsync(lines.fileno())
        return {log: {"bytes": each.size, "sha256": each.sha256.hexdigest()} for log, each in self._written.items()}

    def begin_with(self, lines: Mapping[str, bytes]) -> None:
        """Begin each log with the lines of an earlier attempt: see `logged`."""
        for log, some in lines.items():
            if some:
                self._append(log, some)

    def _append(self, log: str, lines: bytes) -> None:
        with self.attempt.lines_path(log).open("ab") as file:
            file.write(lines)
        self._written[log].add(lines)

    def commit(self, state: str, summary: Mapping[str, Any], error: str | None = None) -> bool:
        """End the attempt: see the function `commit`."""
        return commit(self.attempt, state, summary, error)


def logged(attempt: Attempt, position: Position) -> dict[str, bytes]:
    """Return the lines of each log that an attempt had at a position. DamagedError where it no longer has them."""
    return {log: _beginning(attempt.lines_path(log), digest) for log, digest in position.items()}


def commit_dead(attempt: Attempt, state: str, error: str) -> bool:
    """Commit for a worker that died before its commit. The error is `error` and the end of the worker's log."""
    return commit(attempt, state, {}, f"{error}\n\n{_tail(attempt)}".strip())


def commit(attempt: Attempt, state: str, summary: Mapping[str, Any], error: str | None = None) -> bool:
    """End an attempt in `state`, one of `COMMITTED`, with its final figures, and return whether this commit counts.

    The first result of a run counts, of whichever attempt. Without a result, the first commit of an attempt counts.
    """
    assert state in COMMITTED, state
    folder = attempt.folder
    if folder.status_path.exists() or attempt.status_path.exists() or attempt.superseded():
        return False
    status = Status(
        attempt=attempt.number,
        state=state,
        summary=dict(summary),
        error=error,
        env=attempt.env(),
        finished=_now(),
        files=_save_logs(attempt) | _kept(attempt),
    )
    path = folder.status_path if state in FINISHED else attempt.status_path
    with temporary_file(path, json_bytes(vars(status))) as temporary:
        counts = link_new(temporary, path)
    if state in FINISHED:
        drop_checkpoints(attempt)
    return counts


def _save_logs(attempt: Attempt) -> dict[str, dict[str, Any]]:
    """Write the logs as Parquet, the metrics always, and return the entries of status.json for these files."""
    files = {}
    for log, columns in LOGS.items():
        rows, _ = read_lines(attempt.lines_path(log), columns)
        if rows or log == "metrics":
            path, content = attempt.parquet_path(log), to_parquet(rows, columns)
            write_bytes(path, content)
            files[_name(attempt, path)] = digest_of(content)
    return files


def _name(attempt: Attempt, path: Path) -> str:
    """Return a path as a key of `Status.files`."""
    return path.relative_to(attempt.folder.path).as_posix()


def _kept(attempt: Attempt) -> dict[str, dict[str, Any]]:
    """Return the entries of status.json for the weights and the state, those that the worker has written."""
    paths = (attempt.weights_path, attempt.state_path)
    return {_name(attempt, path): digest_of(path.read_bytes()) for path in paths if path.exists()}


class _Written:
    """The size and hash of a log so far."""

    def __init__(self) -> None:
        self.size, self.sha256 = 0, hashlib.sha256()

    def add(self, lines: bytes) -> None:
        self.size += len(lines)
        self.sha256.update(lines)


def _beginning(path: Path, digest: Mapping[str, Any]) -> bytes:
    """Return the beginning of a log, up to a checkpoint. Raise DamagedError where it differs from the checkpoint's."""
    try:
        lines = read_bytes(path)[: digest["bytes"]] if digest["bytes"] else b""
    except FileNotFoundError:
        raise DamagedError(path, "is missing") from None
    if digest_of(lines) != digest:
        raise DamagedError(path, "does not begin with what was logged up to its checkpoint")
    return lines


def _tail(attempt: Attempt) -> str:
    try:
        return attempt.log_path.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
