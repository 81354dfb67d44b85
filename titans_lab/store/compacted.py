"""Read a compaction: one file for each view, and the runs that can be read from it instead of from their folders.

    compact/<view>-<hash>.parquet           rows of many committed runs
    compact/manifest.json                   the files, and times and sizes of each run's records; written last

A run whose records have changed since is read from its folder. The whole folder can be deleted without loss.
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
from titans_lab.store.names import ForeignName, leads_out, path_of
from titans_lab.store.records import read_manifest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

#: The views whose rows belong to one run each.
OF_RUNS = ("runs", *LOGS, "failures")

#: A hash of the views. A manifest with another one was written for other views and is not used.
FORM = hashlib.sha256(repr([(view, c.name, c.type) for view in OF_RUNS for c in VIEWS[view]]).encode()).hexdigest()

Marks = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A run in a manifest.

    Attributes:
        marks: Times and sizes of its records: see `marks_of`.
        state: The committed state.
        finished: The time of its commit, ISO 8601.
        sha256: The SHA-256 of its status.json.
    """

    marks: Marks
    state: str
    finished: str
    sha256: str


@dataclass(frozen=True)
class Compacted:
    """The manifest of a compaction.

    Attributes:
        folder: The folder of the compaction.
        files: Name, size and SHA-256 of the file of each view.
        entries: The runs whose records are unchanged, by id.
        outdated: The number of runs whose records have changed since.
    """

    folder: Path
    files: Mapping[str, Mapping[str, Any]]
    entries: Mapping[str, Entry]
    outdated: int

    @classmethod
    def load(cls, root: Path) -> Compacted | None:
        """Return the manifest of the store at `root`, or None where there is none for today's views.

        Raises:
            DamagedError: The manifest cannot be used.
        """
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
        """Return the rows of the unchanged runs. Raise DamagedError where the file is not what the manifest says."""
        path, digest = self._file(view)
        rows = read_parquet(path, VIEWS[view], digest)
        return arrow.where_in(rows, "run_id", self.entries) if self.outdated else rows

    def dataset(self, view: str) -> ds.Dataset | None:
        """Return the rows as a dataset that decodes columns when they are read.

        Return None where some runs have changed.
        """
        return None if self.outdated else arrow.dataset(committed_bytes(*self._file(view)))

    def _file(self, view: str) -> tuple[Path, dict[str, Any]]:
        """Return the path of a view's file, with size and SHA-256. Raise DamagedError where a link leads elsewhere."""
        file = self.files[view]
        try:
            path = path_of(self.folder, file["name"])
        except ForeignName as error:
            raise DamagedError(self.folder / file["name"], leads_out(self.folder)) from error
        return path, {"bytes": file["bytes"], "sha256": file["sha256"]}


def manifest_path(root: Path) -> Path:
    """Return the path of the manifest of the store at `root`."""
    return root / "compact" / "manifest.json"


def marks_of(root: Path, run_id: str) -> Marks | None:
    """Return times and sizes of a run's commit, record and later evaluations, or None where it is not committed.

    Records are replaced, never overwritten, so every change shows here. `doctor` finds damage within a file.
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
