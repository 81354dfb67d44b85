"""What a worker writes while it runs, and the commit at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from titans_lab.store.columns import METRICS
from titans_lab.store.files import DamagedError, read_json, write_bytes, write_json
from titans_lab.store.folder import COMMITTED, Attempt, Status
from titans_lab.store.folder import METRICS as METRICS_FILE
from titans_lab.store.lock import AlreadyRunning, hold_lock
from titans_lab.store.metrics import digest_of, read_lines, to_parquet

__all__ = ["AlreadyRunning", "Recorder", "commit_dead", "hold_lock"]

TAIL_BYTES = 8192
_COLUMNS = frozenset(column.name for column in METRICS)


class Recorder:
    """Records one attempt, for the process that holds the run's lock."""

    def __init__(self, attempt: Attempt, env: Mapping[str, Any]) -> None:
        """Write env.json: `env` (host, device, device_name, python, torch, commit, ...) and the time."""
        self.attempt = attempt
        write_json(attempt.env_path, {**env, "started": _now()})

    def log(self, **row: float | None) -> None:
        """Add a line of metrics, at once visible to readers: columns of `METRICS`, null where left out."""
        assert row.keys() <= _COLUMNS, f"not columns of metrics: {row.keys() - _COLUMNS}"
        with self.attempt.metrics_path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def commit(self, state: str, summary: Mapping[str, Any], error: str | None = None) -> None:
        """End the attempt in `state`, one of `COMMITTED`, with its final figures; the first commit stays."""
        commit(self.attempt, state, summary, error)


def commit_dead(attempt: Attempt, state: str, error: str) -> None:
    """Commit for a worker that died without; the record's error is `error` and the end of its log.

    Raises AlreadyRunning where a worker still holds the lock. Does nothing where a commit is there.
    """
    with hold_lock(attempt.folder.path):
        commit(attempt, state, {}, f"{error}\n\n{_tail(attempt)}".strip())


def commit(attempt: Attempt, state: str, summary: Mapping[str, Any], error: str | None = None) -> None:
    """End an attempt in `state`, for the process that holds the run's lock; does nothing where a commit is there."""
    assert state in COMMITTED, state
    folder = attempt.folder
    if folder.status() is not None:
        return
    content = to_parquet(read_lines(attempt.metrics_path)[0])
    write_bytes(folder.metrics_path, content)
    status = Status(
        attempt=attempt.number,
        state=state,
        summary=dict(summary),
        error=error,
        env=_env(attempt),
        finished=_now(),
        files={METRICS_FILE: digest_of(content)},
    )
    write_json(folder.status_path, vars(status))


def _env(attempt: Attempt) -> dict[str, Any]:
    try:
        return read_json(attempt.env_path)
    except (FileNotFoundError, DamagedError):
        return {}  # it died before, or while, it wrote this


def _tail(attempt: Attempt) -> str:
    try:
        return attempt.log_path.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
