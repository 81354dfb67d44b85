"""All runs, studies and whatever else is kept below one folder: the layout of a store.

runs/<run_id>/run.json                  what the run is, written before it starts
runs/<run_id>/attempts/<n>/             claim (who is at it), env.json, metrics.jsonl (one line per log step),
                                        log.txt, evals.jsonl (the last evaluation), and memory.jsonl where the
                                        memories were looked into; weights.pt where it ended well; stop.json where
                                        it was asked to stop; when it has ended metrics.parquet, with evals.parquet
                                        and memory.parquet where there is something in them; and then, where it has
                                        no result, its commit: status.json
runs/<run_id>/status.json               the commit of the first attempt with a result, which stays
runs/<run_id>/evals/<id>.json           what was evaluated later, each by itself
studies/<name>.json                     what a sweep launched
searches/<name>/                        what a search has tried: see `titans_lab.store.searches`
ngram_baselines/<key>.json                       n-gram losses of a data split
benches/<time>-<hash>.json              speeds, measured side by side
quarantine/<time>/                      what `titans-lab doctor --fix` found damaged
trash/<time>/                           what was removed
compact/                                copies of finished runs' rows, for speed alone: `titans_lab.store.compacted`
verified/<key>.json                     a model, a precision and a device whose fast forms were found right
"""

from __future__ import annotations

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

_REPORT = re.compile(rf"reports/{PART}")


@dataclass(frozen=True)
class Store:
    """All runs, studies and floors below one folder, which the first write makes."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run, there or not. UserError where that cannot be its id."""
        return RunFolder(path_of(self.root / "runs", run_id))

    def run_ids(self) -> list[str]:
        """Of the runs that are there, in order; DamagedError where they have no folder but something else."""
        folder = self.root / "runs"
        try:
            return sorted(name for name in folders_in(folder) if not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DamagedError(folder, f"cannot be read: {error.strerror}; move it away") from error

    def folders(self) -> Iterator[RunFolder]:
        """The runs that are there, by id; DamagedError as `run_ids`."""
        return (RunFolder(self.root / "runs" / run_id) for run_id in self.run_ids())

    def save_study(self, record: Mapping[str, Any]) -> None:
        """Keep what a sweep launched, in the place of an earlier sweep of that name.

        Keys: name, family (the name without overrides), path, question, expect, overrides, metric,
        runs ([{"run_id", "factors": {dotted key: value}, "baseline"}]).
        """
        self._save("studies", record["name"], record)

    def study_paths(self) -> list[Path]:
        """Records of studies, by name."""
        return listed(self.root / "studies", "*.json")

    def search(self, name: str) -> SearchFolder:
        """Return the folder of a search, there or not. UserError where that cannot be its name."""
        return SearchFolder(path_of(self.root / "searches", name))

    def searches(self) -> Iterator[SearchFolder]:
        """The searches that are there, by name."""
        folder = self.root / "searches"
        names = folders_in(folder) if folder.is_dir() else []
        return (SearchFolder(folder / name) for name in sorted(names) if not name.startswith("."))

    def report_path(self, name: str, suffix: str) -> Path:
        """Return where the report on a study goes. UserError where that would be outside of the store."""
        return path_of(self.root, f"reports/{name.replace(' ', '-')}{suffix}", _REPORT)

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
        """Keep the n-gram losses of a data split.

        Keys: data_hash, data_source, valid_fraction, valid_bytes, bits_per_byte ({bytes of context: loss}).
        """
        self._save("ngram_baselines", key, record)

    def has_ngram_baseline(self, key: str) -> bool:
        """Whether a readable record of these floors is there."""
        return self._has("ngram_baselines", key, read_ngram_baselines)

    def floor_paths(self) -> list[Path]:
        """Records of floors, by key."""
        return listed(self.root / "ngram_baselines", "*.json")

    def save_bench(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep what a bench has measured so far: columns of the view `benches`, those of each row under "rows"."""
        self._save("benches", name, record)

    def bench_paths(self) -> list[Path]:
        """Records of benches, oldest first."""
        return listed(self.root / "benches", "*.json")

    def save_verified(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep what a verification found, all of it within tolerance.

        Keys: models, precision, device, torch, kernel, versions, code, rows, env, verified.
        """
        self._save("verified", key, record)

    def verified_paths(self) -> list[Path]:
        """Return the records of verifications, by key."""
        return listed(self.root / "verified", "*.json")

    def has_verified(self, key: str) -> bool:
        """Whether a readable record of that verification is there."""
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


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """UserError where the store cannot be written, DamagedError where a folder stands in the place of a record."""
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
