"""The states of a run, and its commit.

States: pending (no attempt), running (the last attempt has no commit, and its claim's holder lives), lost (the holder
is dead), and the committed ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from titans_lab.store.names import NUMBER

#: States of a run that was asked to stop. A later sweep resumes it.
STOPPED = frozenset({"cancelled", "pruned", "timeout"})
COMMITTED = frozenset({"done", "diverged", "failed", "oom"}) | STOPPED
#: States with a result. A sweep never executes such a run again.
FINISHED = frozenset({"done", "diverged"})
#: States of a run that did not succeed although nobody asked it to stop before its time.
BROKEN = frozenset({"failed", "oom", "timeout"})
#: States of an attempt without a result.
FAILED = frozenset({"failed", "oom", "timeout", "cancelled", "lost"})
STATES = frozenset({"pending", "running", "lost"}) | COMMITTED

#: The files that a commit lists: logs of its attempt as Parquet, the weights, and the state of the training.
COMMITTED_FILE = re.compile(rf"attempts/({NUMBER})/(?:[a-z_]+\.parquet|(?:weights|state)\.pt)")


@dataclass(frozen=True)
class Status:
    """The commit of a run.

    Attributes:
        attempt: The number of the committed attempt.
        state: One of `COMMITTED`.
        summary: Final figures: columns of the view `runs`.
        error: The traceback, or the end of the log of a worker that died.
        env: Host, device, versions and start time of the attempt.
        finished: The time of the commit, ISO 8601, UTC.
        files: {path below the run's folder: {"bytes": size, "sha256": hex}}. Each path matches `COMMITTED_FILE`.
    """

    attempt: int
    state: str
    summary: dict[str, Any]
    error: str | None
    env: dict[str, Any]
    finished: str
    files: dict[str, dict[str, Any]]

    def log_file(self, log: str) -> str | None:
        """Return the key in `files` of one of `LOGS`, or None where nothing was logged."""
        return next((name for name in self.files if name.rpartition("/")[2] == f"{log}.parquet"), None)
