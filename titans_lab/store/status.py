"""The states of a run, and its commit.

States: pending (no attempt), running (the last attempt has no commit, and its claim's holder lives), lost (the holder
is dead), and the committed ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

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

    def log_file(self, log: str) -> str | None:
        """The key in `files` of what was logged in one of `LOGS`; None: nothing was."""
        return next((name for name in self.files if name.rpartition("/")[2] == f"{log}.parquet"), None)
