"""The records of a submission: workers that a cluster was asked to start.

submissions/<name>/submission.json      study, engine, jobs, runs, and the code that was submitted
submissions/<name>/ends.json            how its workers ended, as far as anybody has seen
submissions/<name>/*.log                what its workers wrote

No line in these records is ever executed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.store.files import DamagedError, write_json
from titans_lab.store.names import listed
from titans_lab.store.records import read_ends, read_submission


def new_name() -> str:
    """Return the name of a new submission: the time, and a random word."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class SubmissionFolder:
    """The records of one submission."""

    path: Path

    @property
    def name(self) -> str:
        """Return the name of the submission."""
        return self.path.name

    @property
    def record_path(self) -> Path:
        """Return the path of the record."""
        return self.path / "submission.json"

    @property
    def ends_path(self) -> Path:
        """Return the path of the ends of workers."""
        return self.path / "ends.json"

    def save(self, record: Mapping[str, Any]) -> None:
        """Write the record, over an earlier one. `titans_lab.store.records` has its keys."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.record_path, record)

    def record(self) -> dict[str, Any] | None:
        """Return the record, or None where there is none that can be read."""
        try:
            return read_submission(self.record_path)
        except (FileNotFoundError, DamagedError):
            return None

    def ends(self) -> dict[str, str]:
        """Return how workers ended, by job."""
        return self._ends()["workers"]

    def over(self) -> bool:
        """Return whether all workers are known to have ended."""
        return self._ends()["over"]

    def note_ends(self, ends: Mapping[str, str], over: bool) -> None:
        """Add the ends of workers, unless they are known, and whether that is all of them."""
        before = self._ends()
        after = {"workers": before["workers"] | ends, "over": over}
        if after != before:
            write_json(self.ends_path, after)

    def logs(self) -> list[Path]:
        """Return the logs of the workers, by name."""
        return listed(self.path, "*.log")

    def _ends(self) -> dict[str, Any]:
        try:
            return read_ends(self.ends_path)
        except (FileNotFoundError, DamagedError):
            return {"workers": {}, "over": False}
