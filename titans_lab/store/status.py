"""The states of a run, and its commit.

States: pending (no attempt), running (the last attempt has no commit, and its claim's holder lives), lost (the holder
is dead), and the committed ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.store.files import DamagedError, read_json
from titans_lab.store.names import NUMBER

#: How a run ends that is asked to end before its time: a later sweep goes on with it.
STOPPED = frozenset({"cancelled", "pruned", "timeout"})
COMMITTED = frozenset({"done", "diverged", "failed", "oom"}) | STOPPED
#: What a sweep never runs again.
FINISHED = frozenset({"done", "diverged"})
#: How an attempt ends that has no result.
FAILED = frozenset({"failed", "oom", "timeout", "cancelled", "lost"})
STATES = frozenset({"pending", "running", "lost"}) | COMMITTED

#: What a commit vouches for: a log of its attempt as Parquet, or the weights.
COMMITTED_FILE = re.compile(rf"attempts/({NUMBER})/(?:[a-z_]+\.parquet|weights\.pt)")

_STATUS_TYPES: dict[str, type | tuple[type, ...]] = {
    "attempt": int,
    "state": str,
    "summary": dict,
    "error": (str, type(None)),
    "env": dict,
    "finished": str,
    "files": dict,
}


@dataclass(frozen=True)
class Status:
    """The commit of a run.

    Attributes:
        attempt: Number of the attempt that it commits.
        state: One of `COMMITTED`.
        summary: Final figures; columns of the view `runs`.
        error: Traceback, or the end of the log of a worker that died.
        env: Host, device and versions of the attempt, and when it started.
        finished: ISO 8601, UTC.
        files: {path below the run's folder: {"bytes": size, "sha256": hex}}; each fits `COMMITTED_FILE`.
    """

    attempt: int
    state: str
    summary: dict[str, Any]
    error: str | None
    env: dict[str, Any]
    finished: str
    files: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Status:
        """FileNotFoundError where there is none, DamagedError where it is not a commit."""
        record = read_json(path)
        wrong = [name for name, kind in _STATUS_TYPES.items() if not isinstance(record.get(name), kind)]
        if not wrong and not all(_is_own(name, record["attempt"]) for name in record["files"]):
            wrong = ["files"]
        if wrong or record["state"] not in COMMITTED:
            raise DamagedError(path, f"is not a status: see {', '.join(wrong) or 'state'}")
        return cls(**{name: record[name] for name in _STATUS_TYPES})

    def log_file(self, log: str) -> str | None:
        """The key in `files` of what was logged in one of `LOGS`; None: nothing was."""
        return next((name for name in self.files if name.rpartition("/")[2] == f"{log}.parquet"), None)


def _is_own(name: str, attempt: int) -> bool:
    """Return whether a name in the commit of an attempt is that of a file of this attempt."""
    match = COMMITTED_FILE.fullmatch(name)
    return match is not None and match[1] == str(attempt)
