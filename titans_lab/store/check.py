"""Read every record of a store, compare it with its checksum, and move damaged ones aside on request."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.store.checkpoints import checkpoints
from titans_lab.store.columns import LOGS, VIEWS
from titans_lab.store.compacted import Compacted, manifest_path, marks_of
from titans_lab.store.files import Damage, DamagedError, read_bytes
from titans_lab.store.folder import WEIGHTS, Attempt, RunFolder
from titans_lab.store.logs import digest_of, read_lines
from titans_lab.store.names import is_inside, leads_out
from titans_lab.store.records import (
    UnknownConfiguration,
    read_again,
    read_bench,
    read_ends,
    read_env,
    read_evaluation,
    read_explained,
    read_finalists,
    read_ngram_baselines,
    read_run,
    read_search,
    read_status,
    read_stop,
    read_study,
    read_submission,
    read_trial,
    read_verified,
)
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader

STALE_SECONDS = 3600.0  # a temporary file that is older was left by a process that was killed
AHEAD_SECONDS = 60.0  # how far a file's time may be ahead of this machine's clock


@dataclass(frozen=True)
class Fault:
    """A fault of a record.

    Attributes:
        damage: The record and what is wrong with it.
        remedy: The consequence, or what to do.
        movable: Whether the file can be moved away because nothing in it can be used.
    """

    damage: Damage
    remedy: str
    movable: bool = True


def faults(store: Store) -> list[Fault]:
    """Return every fault of a store."""
    found = [fault for run in store.folders() for fault in _run(run)]
    found += [*_folders(store), *_links(store), *_records(store), *_studies(store), *_compaction(store)]
    found += [*_leftovers(store), *_ahead(store)]
    known = {fault.damage.path for fault in found}
    reader = Reader(store)  # finds values of a wrong type in records that are otherwise sound
    for view in VIEWS:
        reader.table(view)
    others = [damage for damage in dict.fromkeys(reader.damage) if damage.path not in known]
    return found + [Fault(damage, "its values are read as null", movable=False) for damage in others]


def quarantine(store: Store, found: list[Fault]) -> Path | None:
    """Move the files that cannot be used into a new folder, and return it, or None if there are no such files."""
    moved = dict.fromkeys(fault.damage.path for fault in found if fault.movable and os.path.lexists(fault.damage.path))
    return store.set_aside(list(moved), "quarantine") if moved else None


def _run(run: RunFolder) -> Iterator[Fault]:
    yield from _record(run.record_path, read_run, "sweep its study: it is written again", bool(run.attempts()))
    yield from _commit(run, run.status_path)
    for path in run.attempts():
        yield from _attempt(run, Attempt(path))
    for path in run.evaluation_paths():
        yield from _record(path, read_evaluation, "ask the run again: titans-lab eval")
    for saved in checkpoints(run):
        try:
            saved.check()
        except DamagedError as error:
            yield Fault(error.damage, "the run goes on from the one before, or from its start")


def _attempt(run: RunFolder, attempt: Attempt) -> Iterator[Fault]:
    for path in (attempt.status_path, attempt.archived_path):
        yield from _commit(run, path)
    yield from _record(attempt.env_path, read_env, "host and versions of this attempt are unknown")
    yield from _record(attempt.stop_path, read_stop, "ask the run to stop again: titans-lab cancel")
    yield from _record(attempt.again_path, read_again, "ask for the run again: titans-lab work --again")
    yield from _record(attempt.explained_path, read_explained, "why this attempt ended is unknown")
    for log, columns in LOGS.items():
        try:
            damaged = read_lines(attempt.lines_path(log), columns)[1]
        except DamagedError as error:
            yield Fault(error.damage, "what it logged is left out")
            continue
        for damage in damaged:
            yield Fault(damage, "the line is left out", movable=False)


def _commit(run: RunFolder, path: Path) -> Iterator[Fault]:
    """Yield the faults of a status.json and of the files that it commits."""
    try:
        status = read_status(path)
    except FileNotFoundError:
        return
    except DamagedError as error:
        yield Fault(error.damage, "the run counts as lost; sweep its study again")
        return
    for name, digest in status.files.items():
        try:
            file = run.committed_path(name)
        except DamagedError as error:
            yield Fault(error.damage, _again(run), movable=False)
            continue
        try:
            if digest_of(read_bytes(file)) != digest:
                yield Fault(Damage(file, "is not what status.json committed (size or SHA-256 differ)"), _again(run))
        except FileNotFoundError:
            if file.name != WEIGHTS:  # an archive may leave them out, and a full disk be relieved of them
                yield Fault(Damage(file, "is missing"), _again(run), movable=False)
        except DamagedError as error:
            yield Fault(error.damage, _again(run))


def _again(run: RunFolder) -> str:
    return f"to train it again: titans-lab rm {run.run_id}, then sweep its study"


def _record(path: Path, read: Callable[[Path], object], remedy: str, required: bool = False) -> Iterator[Fault]:
    try:
        read(path)
    except FileNotFoundError:
        if required:
            yield Fault(Damage(path, "is missing"), remedy, movable=False)
    except UnknownConfiguration as error:
        yield Fault(error.damage, "the run is left out here, and stays for the version that wrote it", movable=False)
    except DamagedError as error:
        yield Fault(error.damage, remedy)


def _folders(store: Store) -> Iterator[Fault]:
    """Yield files in the place of the store's folders."""
    for kind in ("studies", "searches", "submissions", "ngram_baselines", "benches", "verified"):
        path = store.root / kind
        if path.exists() and not path.is_dir():
            yield Fault(Damage(path, "is a file where the store has a folder"), "nothing can be kept there")


def _links(store: Store) -> Iterator[Fault]:
    """Yield links in place of runs, attempts or searches that lead out of their folder."""
    folders = [store.root / "runs", store.root / "searches", *(run.path / "attempts" for run in store.folders())]
    for folder in (folder for folder in folders if folder.is_dir()):
        for path in sorted(folder.iterdir()):
            if path.is_symlink() and not is_inside(folder, path):
                yield Fault(Damage(path, leads_out(folder)), "it is not used; put the folder itself there", False)


def _records(store: Store) -> Iterator[Fault]:
    for path in store.study_paths():
        yield from _record(path, read_study, "sweep the study: it is written again")
    for search in store.searches():
        yield from _record(search.definition_path, read_search, "tune the study: it is written again", required=True)
        yield from _record(search.finalists_path, read_finalists, "the search goes on without it")
        for path in search.trial_paths():
            yield from _record(path, read_trial, "the search goes on without it")
    for submission in store.submissions():
        yield from _record(submission.record_path, read_submission, "its workers end by themselves", required=True)
        yield from _record(submission.ends_path, read_ends, "the cluster is asked again")
    measured = [(store.ngram_baseline_paths(), read_ngram_baselines), (store.bench_paths(), read_bench)]
    for paths, read in [*measured, (store.verified_paths(), read_verified)]:
        for path in paths:
            yield from _record(path, read, "it is measured again when it is needed")


def _studies(store: Store) -> Iterator[Fault]:
    """Yield studies some of whose runs are missing."""
    for path in store.study_paths():
        try:
            runs = [store.run(run["run_id"]) for run in read_study(path)["runs"]]
        except UserError:
            continue  # another fault already names the record, or the link in place of a run
        missing = [run.run_id for run in runs if not run.path.is_dir()]
        if missing:
            words = f"{len(missing)} of its {len(runs)} runs are missing from the store, such as {missing[0]}"
            yield Fault(Damage(path, words), "sweep the study, or remove it: titans-lab rm", movable=False)


def _compaction(store: Store) -> Iterator[Fault]:
    """Yield a compaction that cannot be read, is of other views, or differs from the folders."""
    manifest, remedy = manifest_path(store.root), "titans-lab compact"
    try:
        compacted = Compacted.load(store.root)
    except DamagedError as error:
        yield Fault(error.damage, remedy)
        return
    if compacted is None:
        if manifest.exists():
            yield Fault(Damage(manifest, "is of another version of titans-lab, and not used"), remedy)
        return
    for run_id, entry in compacted.entries.items():
        status = store.run(run_id).status_path
        same = marks_of(store.root, run_id) == entry.marks
        if same and (_digest(status) or {}).get("sha256") != entry.sha256:
            yield Fault(Damage(manifest, f"was made of another {status}"), remedy)
    for file in compacted.files.values():
        path = manifest.parent / str(file["name"])
        if _digest(path) != {"bytes": file["bytes"], "sha256": file["sha256"]}:
            yield Fault(Damage(path, "is missing, or is not what manifest.json says"), remedy)


def _digest(path: Path) -> dict[str, Any] | None:
    """Return size and SHA-256 of a file, or None where it cannot be read."""
    try:
        return digest_of(read_bytes(path))
    except (FileNotFoundError, DamagedError):
        return None


def _leftovers(store: Store) -> Iterator[Fault]:
    """Yield temporary files that killed processes left."""
    for path in store.root.rglob(".*"):
        kept = {"trash", "quarantine"} & set(path.relative_to(store.root).parts)
        left = path.name.endswith(".tmp") or path.name.startswith(".import-")
        with suppress(FileNotFoundError):  # its process has just renamed it
            if left and not kept and time.time() - path.lstat().st_mtime > STALE_SECONDS:
                yield Fault(Damage(path, "was left by a process that was killed"), "nothing reads it")


def _ahead(store: Store) -> Iterator[Fault]:
    """Yield a record with a time in the future: a clock jumped, or two machines' clocks differ."""
    paths = [path for run in store.folders() for path in (run.record_path, run.status_path) if path.exists()]
    late = [path for path in paths if path.stat().st_mtime > time.time() + AHEAD_SECONDS]
    if late:
        words = f"was written in the future, as {len(late) - 1} others were"
        yield Fault(Damage(late[0], words), "set the clocks of the machines", movable=False)
