"""Compact a store.

A compaction has the rows of many runs in one file per view, because ten thousand small files take seconds to read.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.store import arrow
from titans_lab.store.compacted import FORM, OF_RUNS, Compacted, Entry, manifest_path, marks_of
from titans_lab.store.files import DamagedError, read_bytes, write_bytes, write_json
from titans_lab.store.logs import digest_of
from titans_lab.store.names import check_inside
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader

WORTHWHILE = 500  # finished runs outside of the compaction: reading their folders takes a quarter of a second
GRACE_SECONDS = 3600.0  # the time that an old file is kept, because a reader may still have it open


@dataclass(frozen=True)
class Done:
    """The result of a compaction.

    Attributes:
        runs: The number of runs that it covers.
        added: The number of runs that were not covered before.
        size: The size of its files in bytes.
    """

    runs: int
    added: int
    size: int


def compact(store: Store) -> Done:
    """Compact every run that has a result and whose records are whole.

    A kill at any moment leaves the earlier compaction, or none. Of two compactions at the same time the last one stays.
    """
    folder = manifest_path(store.root).parent
    check_inside(store.root, folder)  # files are deleted in it
    folder.mkdir(exist_ok=True)
    before = {run.run_id: marks_of(store.root, run.run_id) for run in store.folders()}
    reader = Reader(store)
    tables = {view: reader.table(view) for view in OF_RUNS}
    old = dict(reader.compacted.entries) if reader.compacted else {}
    entries = old | _fresh(reader, before)
    files = {view: _save(store, view, arrow.where_in(table, "run_id", entries)) for view, table in tables.items()}
    manifest = {"form": FORM, "files": files}
    rows = {name: [entry.marks, entry.state, entry.finished, entry.sha256] for name, entry in entries.items()}
    write_json(manifest_path(store.root), manifest | {"runs": rows})
    _clear(folder, {str(file["name"]) for file in files.values()})
    return Done(len(entries), len(entries.keys() - old.keys()), sum(file["bytes"] for file in files.values()))


def worthwhile(store: Store) -> bool:
    """Return whether so many runs are outside of the compaction that queries are slow."""
    try:
        covered = Compacted.load(store.root)
    except DamagedError:
        covered = None
    known = covered.entries if covered else {}
    return sum(run.run_id not in known and run.status_path.exists() for run in store.folders()) >= WORTHWHILE


def remove(store: Store) -> None:
    """Delete the compaction."""
    folder = manifest_path(store.root).parent
    manifest_path(store.root).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _fresh(reader: Reader, before: dict[str, Any]) -> dict[str, Entry]:
    """Return entries of the runs that were read from their folders, are whole and have not changed since `before`."""
    root = reader.store.root
    runs = root / "runs"
    damaged = {damage.path.relative_to(runs).parts[0] for damage in reader.damage if damage.path.is_relative_to(runs)}
    entries = {}
    for found in reader.found:
        run_id, status = found.folder.run_id, found.status
        marks = marks_of(root, run_id)
        if status and run_id not in damaged and marks and marks == before.get(run_id):
            digest = hashlib.sha256(read_bytes(found.folder.status_path)).hexdigest()
            entries[run_id] = Entry(marks, status.state, status.finished, digest)
    return entries


def _save(store: Store, view: str, table: arrow.Table) -> dict[str, Any]:
    """Write a view's rows to a file that is named after their hash, and return the manifest's entry of it."""
    content = arrow.parquet(table)
    digest = digest_of(content)
    name = f"{view}-{digest['sha256'][:16]}.parquet"
    write_bytes(manifest_path(store.root).parent / name, content)
    return {"name": name, **digest}


def _clear(folder: Path, named: set[str]) -> None:
    """Delete the files of earlier compactions, but for recent ones."""
    for path in folder.glob("*.parquet"):
        with suppress(FileNotFoundError):
            if path.name not in named and time.time() - path.stat().st_mtime > GRACE_SECONDS:
                path.unlink()
