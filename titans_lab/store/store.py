"""The layout of a store: all records of runs and studies below one folder.

runs/<run_id>/run.json                  configuration, seed and data of the run, written before it starts
runs/<run_id>/attempts/<n>/             an attempt. While it runs: claim (its worker), env.json, log.txt and the logs
                                        metrics.jsonl, evals.jsonl and memory.jsonl; stop.json if it was asked to stop.
                                        At its end: weights.pt if it succeeded, state.pt if log.keep_state asks
                                        for it, the logs as Parquet, and its commit
                                        status.json if it has no result; then again.json, if somebody asks for
                                        another attempt, and explained.json, if a cluster says why it ended
runs/<run_id>/status.json               the commit of the first attempt with a result; it is never replaced
runs/<run_id>/evals/<id>.json           a later evaluation
studies/<name>.json                     the study as last swept
searches/<name>/                        a search: see `titans_lab.store.searches`
ngram_baselines/<key>.json              losses of n-gram models on a data split
benches/<time>-<hash>.json              measured speeds
quarantine/<time>/                      damaged records that `titans-lab doctor --fix` moved away
trash/<time>/                           removed runs and studies
compact/                                copies of finished runs' rows, to read faster: `titans_lab.store.compacted`
submissions/<name>/                     workers on a cluster: see `titans_lab.store.submissions`
tracking/<tracker>/                     copies of runs for a tracker of the user's: `titans_lab.tracking`
verified/<key>.json                     a verification that passed, of one model, precision and device
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.store.files import DamagedError, write_json
from titans_lab.store.folder import RunFolder
from titans_lab.store.names import PART, check_inside, folders_in, listed, path_of
from titans_lab.store.records import read_ngram_baselines, read_verified
from titans_lab.store.searches import SearchFolder
from titans_lab.store.submissions import SubmissionFolder

_REPORT = re.compile(rf"reports/{PART}")


@dataclass(frozen=True)
class Store:
    """All runs, studies and measurements below one folder, which the first write makes."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist. Raise UserError where `run_id` cannot be an id."""
        return RunFolder(path_of(self.root / "runs", run_id))

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, in order. Raise DamagedError where the folder of runs cannot be read."""
        folder = self.root / "runs"
        try:
            return sorted(name for name in folders_in(folder) if not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DamagedError(folder, f"cannot be read: {error.strerror}; move it away") from error

    def folders(self) -> Iterator[RunFolder]:
        """Return the folders of all runs, by id. Raise DamagedError as `run_ids` does."""
        return (RunFolder(self.root / "runs" / run_id) for run_id in self.run_ids())

    def save_study(self, record: Mapping[str, Any]) -> None:
        """Write the record of a swept study, over that of an earlier sweep.

        Keys: name, family (the name without overrides), path, question, expect, overrides, metric,
        runs ([{"run_id", "factors": {dotted key: value}, "baseline"}]).
        """
        self._save("studies", record["name"], record)

    def study_paths(self) -> list[Path]:
        """Return the paths of all studies, by name."""
        return listed(self.root / "studies", "*.json")

    def search(self, name: str) -> SearchFolder:
        """Return the folder of a search, which need not exist. Raise UserError where `name` cannot be a name."""
        return SearchFolder(path_of(self.root / "searches", name))

    def searches(self) -> Iterator[SearchFolder]:
        """Return the folders of all searches, by name."""
        folder = self.root / "searches"
        names = folders_in(folder) if folder.is_dir() else []
        return (SearchFolder(folder / name) for name in sorted(names) if not name.startswith("."))

    def submission(self, name: str) -> SubmissionFolder:
        """Return the folder of a submission, which need not exist. UserError where `name` cannot be a name."""
        return SubmissionFolder(path_of(self.root / "submissions", name))

    def submissions(self) -> list[SubmissionFolder]:
        """Return the folders of all submissions, oldest first."""
        folder = self.root / "submissions"
        names = folders_in(folder) if folder.is_dir() else []
        return [SubmissionFolder(folder / name) for name in sorted(names) if not name.startswith(".")]

    def report_path(self, name: str, suffix: str) -> Path:
        """Return the default path of the report on a study. Raise UserError where it would be outside of the store."""
        return path_of(self.root, f"reports/{name.replace(' ', '-')}{suffix}", _REPORT)

    def tracking_folder(self, name: str) -> Path:
        """Return the folder for what a tracker keeps on this machine."""
        return path_of(self.root / "tracking", name)

    def set_aside(self, paths: Sequence[Path], kind: str) -> Path:
        """Move `paths` into a new folder below `kind` of this store, under the same names, and return that folder.

        Raises:
            ForeignName: A link leads out of the store. Then nothing is moved.
        """
        folder = self.root / kind / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        for place in (folder, *(path.parent for path in paths)):
            check_inside(self.root, place)
        for path in paths:
            place = folder / path.relative_to(self.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        return folder

    def save_ngram_baseline(self, key: str, record: Mapping[str, Any]) -> None:
        """Write the losses of n-gram models on a data split.

        Keys: data_hash, data_source, valid_fraction, valid_bytes, split, bits_per_byte ({bytes of context: loss}).
        """
        self._save("ngram_baselines", key, record)

    def has_ngram_baseline(self, key: str) -> bool:
        """Return whether the store has a readable record of these n-gram baselines."""
        return self._has("ngram_baselines", key, read_ngram_baselines)

    def ngram_baseline_paths(self) -> list[Path]:
        """Return the paths of all n-gram baselines, by key."""
        return listed(self.root / "ngram_baselines", "*.json")

    def save_bench(self, name: str, record: Mapping[str, Any]) -> None:
        """Write the measurements of a bench: columns of the view `benches`, those of each row under "rows"."""
        self._save("benches", name, record)

    def bench_paths(self) -> list[Path]:
        """Return the paths of all benches, oldest first."""
        return listed(self.root / "benches", "*.json")

    def save_verified(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep what a verification found, all of it within tolerance.

        Keys: models, precision, device, torch, kernel, versions, code, rows, env, verified.
        """
        self._save("verified", key, record)

    def verified_paths(self) -> list[Path]:
        """Return the paths of all verifications, by key."""
        return listed(self.root / "verified", "*.json")

    def has_verified(self, key: str) -> bool:
        """Return whether the store has a readable record of a verification."""
        return self._has("verified", key, read_verified)

    def _has(self, kind: str, name: str, read: Callable[[Path], object]) -> bool:
        try:
            read(path_of(self.root / kind, f"{name}.json"))
        except (FileNotFoundError, DamagedError):
            return False
        return True

    def _save(self, kind: str, name: str, record: Mapping[str, Any]) -> None:
        path = path_of(self.root / kind, f"{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)


def open_store(folder: Path | None, there: bool = False) -> Store:
    """Return the store in a folder, by default in $TITANS_LAB_STORE or else ./results.

    Args:
        folder: The folder. None: the default.
        there: Whether the store has to exist already.

    Raises:
        UserError: The folder is something else, cannot be read, or has to exist and does not.
    """
    root = folder or Path(os.environ.get("TITANS_LAB_STORE") or "results")
    try:
        found = root.is_dir()
    except OSError as error:
        words = f"cannot be read ({error.strerror}); name the store with --store or TITANS_LAB_STORE"
        raise UserError(f"{root!s:.200}: {words}") from error
    if not found and os.path.lexists(root):  # also a link that leads nowhere
        raise UserError(f"{root}: not a folder; name the store with --store or TITANS_LAB_STORE")
    if there and not found:
        raise UserError(f"{root}: no such folder; name the store with --store or TITANS_LAB_STORE")
    return Store(root)


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """Raise UserError where the store cannot be written, DamagedError where a folder is in the place of a record."""
    try:
        yield
    except IsADirectoryError as error:
        remedy = "`titans-lab doctor --fix` moves it out of the way"
        raise DamagedError(
            Path(error.filename2 or error.filename), f"is a folder where a file belongs; {remedy}"
        ) from error
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError) and store.root.is_dir():
            words = "cannot be made: a file is in its place, or in that of a folder above; move that away"
            raise UserError(f"{error.filename}: {words}") from error
        raise UserError(f"{store.root}: cannot write there ({error.strerror}); name another folder") from error
