"""What was compacted: one file for each view, and which runs may be read from it instead of from their folders.

    compact/<view>-<hash>.parquet           rows of many committed runs
    compact/manifest.json                   the files, and of each run how its records looked: the commit of all this

A run whose records look otherwise now is read from its folder. All of it can be deleted, and nothing is lost.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.store import arrow
from titans_lab.store.columns import LOGS, VIEWS
from titans_lab.store.files import DamagedError
from titans_lab.store.logs import committed_bytes, read_parquet
from titans_lab.store.names import path_of
from titans_lab.store.records import read_manifest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

#: The views whose rows belong to one run each.
OF_RUNS = ("runs", *LOGS, "failures")

#: Another one than that of a manifest: the views have changed, and it no longer counts.
FORM = hashlib.sha256(repr([(view, c.name, c.type) for view in OF_RUNS for c in VIEWS[view]]).encode()).hexdigest()

Marks = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A run in a manifest.

    Attributes:
        marks: How its records looked: see `marks_of`.
        state: As committed.
        finished: When, ISO 8601.
        sha256: Of its status.json.
    """

    marks: Marks
    state: str
    finished: str
    sha256: str


@dataclass(frozen=True)
class Compacted:
    """A manifest.

    Attributes:
        folder: Where it lies.
        files: Name, size and SHA-256 of the file of each view.
        entries: Its runs that are as they were, by id.
        outdated: How many others it has.
    """

    folder: Path
    files: Mapping[str, Mapping[str, Any]]
    entries: Mapping[str, Entry]
    outdated: int

    @classmethod
    def load(cls, root: Path) -> Compacted | None:
        """Of the store at `root`; None where there is none for today's views, DamagedError where it cannot be used."""
        path = manifest_path(root)
        try:
            record = read_manifest(path)
        except FileNotFoundError:
            return None
        if record["form"] != FORM:
            return None
        files = record["files"]
        if files.keys() != set(OF_RUNS):
            raise DamagedError(path, f"is of another form: its files are not {', '.join(OF_RUNS)}")
        entries = {run_id: Entry(tuple(marks), *rest) for run_id, (marks, *rest) in record["runs"].items()}
        same = {run_id: entry for run_id, entry in entries.items() if marks_of(root, run_id) == entry.marks}
        return cls(path.parent, files, same, len(entries) - len(same))

    def table(self, view: str) -> pa.Table:
        """The rows of the runs that are as they were; DamagedError."""
        path, digest = self._file(view)
        rows = read_parquet(path, VIEWS[view], digest)
        return arrow.where_in(rows, "run_id", self.entries) if self.outdated else rows

    def dataset(self, view: str) -> ds.Dataset | None:
        """The same, of which only the columns that are asked for are decoded; None where some runs have changed."""
        return None if self.outdated else arrow.dataset(committed_bytes(*self._file(view)))

    def _file(self, view: str) -> tuple[Path, dict[str, Any]]:
        """Where the rows are, and their size and SHA-256."""
        file = self.files[view]
        return path_of(self.folder, file["name"]), {"bytes": file["bytes"], "sha256": file["sha256"]}


def manifest_path(root: Path) -> Path:
    """Of the store at `root`."""
    return root / "compact" / "manifest.json"


def marks_of(root: Path, run_id: str) -> Marks | None:
    """Time of change and size of a run's commit and record, and of its later evaluations; None: it is not committed.

    Records are replaced, never written over, so a change shows here; damage within a file is for `doctor` to find.
    """
    folder = f"{root}/runs/{run_id}"
    status, record, evals = (_mark(f"{folder}/{name}") for name in ("status.json", "run.json", "evals"))
    return None if status is None or record is None else (*status, *record, *(evals or (0, 0)))


def _mark(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - there are ten thousands of them
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
