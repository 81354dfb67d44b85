"""The folder of a run, its attempts and its commit; the layout of a store.

    runs/<run_id>/run.json                  what the run is, written before it starts
    runs/<run_id>/attempts/<n>/             claim (who is at it), env.json, metrics.jsonl (one line per log step),
                                            log.txt, evals.jsonl (the last evaluation), and inside.jsonl where the
                                            memories were looked into; weights.pt where it ended well; stop.json where
                                            it was asked to stop; when it has ended metrics.parquet, with evals.parquet
                                            and inside.parquet where there is something in them; and then, where it has
                                            no result, its commit: status.json
    runs/<run_id>/status.json               the commit of the first attempt with a result, which stays
    runs/<run_id>/evals/<id>.json           what was evaluated later, each by itself
    studies/<name>.json                     what a sweep launched
    searches/<name>/                        what a search has tried: see `titans_lab.store.searches`
    floors/<key>.json                       n-gram losses of a data split
    benches/<time>-<hash>.json              speeds, measured side by side
    verified/<key>.json                     a model, a precision and a device whose fast forms were found right

States: pending (no attempt), running (the last attempt has no commit, and its claim's holder lives), lost (the holder
is dead), and the committed ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.store.claims import NOBODY, AlreadyRunning, Claim, Holder, Watch
from titans_lab.store.files import DamagedError, read_json, write_json
from titans_lab.store.searches import SearchFolder

#: How a run ends that is asked to end before its time: a later sweep goes on with it.
STOPPED = frozenset({"cancelled", "pruned", "timeout"})
COMMITTED = frozenset({"done", "diverged", "failed", "oom"}) | STOPPED
#: What a sweep never runs again.
FINISHED = frozenset({"done", "diverged"})
STATES = frozenset({"pending", "running", "lost"}) | COMMITTED

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,120}")
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
        files: {path below the run's folder: {"bytes": size, "sha256": hex}}.
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
        if wrong or record["state"] not in COMMITTED:
            raise DamagedError(path, f"is not a status: see {', '.join(wrong) or 'state'}")
        return cls(**{name: record[name] for name in _STATUS_TYPES})

    def log_file(self, log: str) -> str | None:
        """The key in `files` of what was logged in one of `LOGS`; None: nothing was."""
        return next((name for name in self.files if name.rpartition("/")[2] == f"{log}.parquet"), None)


@dataclass(frozen=True)
class Attempt:
    """One try at a run: the folder <run>/attempts/<number>."""

    path: Path

    @property
    def number(self) -> int:
        """1 for the first."""
        return int(self.path.name)

    @property
    def folder(self) -> RunFolder:
        """The run that it tries."""
        return RunFolder(self.path.parent.parent)

    @property
    def env_path(self) -> Path:
        """Host, device and versions."""
        return self.path / "env.json"

    @property
    def claim(self) -> Claim:
        """Who is at it."""
        return Claim(self.path / "claim")

    @property
    def status_path(self) -> Path:
        """Its commit, where it ended without a result."""
        return self.path / "status.json"

    def status(self) -> Status | None:
        """Its commit; None where there is none that can be read."""
        for path in (self.folder.status_path, self.status_path):
            with suppress(FileNotFoundError, DamagedError):
                status = Status.read(path)
                if status.attempt == self.number:
                    return status
        return None

    def parquet_path(self, log: str) -> Path:
        """What it logged in one of `LOGS`, once it has ended."""
        return self.path / f"{log}.parquet"

    def begun(self) -> bool:
        """Whether anything is in it: a kill may leave it empty, before it is claimed."""
        return any(self.path.iterdir())

    def superseded(self) -> bool:
        """Whether somebody has claimed the next attempt, having taken this one's worker for dead."""
        return Attempt(self.path.with_name(str(self.number + 1))).claim.taken()

    def lines_path(self, log: str) -> Path:
        """The JSON lines of one of `LOGS`."""
        return self.path / f"{log}.jsonl"

    @property
    def metrics_path(self) -> Path:
        """A JSON line per log step."""
        return self.lines_path("metrics")

    @property
    def weights_path(self) -> Path:
        """The model at the end of training: float32 tensors by name, for `torch.load`."""
        return self.path / "weights.pt"

    @property
    def log_path(self) -> Path:
        """The worker's stdout and stderr."""
        return self.path / "log.txt"

    @property
    def stop_path(self) -> Path:
        """There where the worker was asked to stop."""
        return self.path / "stop.json"

    def ask_to_stop(self, state: str, why: str) -> None:
        """Have the worker, on whatever host, commit `state`, one of `STOPPED`, and why; the last request counts."""
        assert state in STOPPED, state
        write_json(self.stop_path, {"state": state, "why": why})

    def asked_to_stop(self) -> tuple[str, str] | None:
        """The state to commit and why; None where nobody asked."""
        try:
            asked = read_json(self.stop_path)
        except FileNotFoundError:
            return None
        return str(asked["state"]), str(asked["why"])


@dataclass(frozen=True)
class RunFolder:
    """The records of one run; the folder's name is the run's id."""

    path: Path

    @property
    def run_id(self) -> str:
        """Hash of what decides the run's numbers."""
        return self.path.name

    @property
    def store(self) -> Path:
        """Root of the store that it is in."""
        return self.path.parents[1]

    @property
    def record_path(self) -> Path:
        """What the run is."""
        return self.path / "run.json"

    @property
    def status_path(self) -> Path:
        """The commit of the first attempt with a result."""
        return self.path / "status.json"

    def parquet_path(self, log: str) -> Path:
        """What the attempt whose commit counts logged in one of `LOGS`."""
        status = self.status()
        name = status and status.log_file(log)
        return self.path / (name or f"{log}.parquet")

    @property
    def metrics_path(self) -> Path:
        """The metrics of that attempt."""
        return self.parquet_path("metrics")

    def commit_path(self) -> Path:
        """The commit that counts, there or not: the one with a result, else that of the last attempt."""
        latest = None if self.status_path.exists() else self.latest()
        return latest.status_path if latest else self.status_path

    def evaluation_path(self, name: str) -> Path:
        """What a later evaluation found."""
        return self.path / "evals" / f"{_checked(name)}.json"

    def evaluation_paths(self) -> list[Path]:
        """Those of all that there are, by name."""
        return _listed(self.path / "evals", "*.json")

    def evaluation(self, name: str) -> dict[str, Any] | None:
        """A later evaluation; None where there is none that can be read."""
        try:
            return read_json(self.evaluation_path(name))
        except (FileNotFoundError, DamagedError):
            return None

    def save_evaluation(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep one, whole: rows of the view `evals` under "rows", and what was asked, of what, when and where."""
        path = self.evaluation_path(name)
        path.parent.mkdir(exist_ok=True)
        write_json(path, record)

    def create(self, record: Mapping[str, Any]) -> None:
        """Write what the run is, unless a readable record is there already."""
        try:
            read_json(self.record_path)
        except (FileNotFoundError, DamagedError):
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.record_path, record)

    def record(self) -> dict[str, Any]:
        """What the run is; UserError where that cannot be read."""
        try:
            return read_json(self.record_path)
        except FileNotFoundError:
            raise UserError(f"{self.record_path}: not there; sweep the study that this run belongs to") from None

    def status(self) -> Status | None:
        """The commit that counts; None where there is none that can be read."""
        try:
            return Status.read(self.commit_path())
        except (FileNotFoundError, DamagedError):
            return None

    def state(self) -> str:
        """One of `STATES`."""
        status = self.status()
        if status is None:
            latest = self.latest()
            if latest is None:
                return "pending"
            if latest.claim.seems_alive():
                return "running"
            status = self.status()  # it may have ended since the first look
        return status.state if status else "lost"

    def attempts(self) -> list[Path]:
        """Folders of the attempts, oldest first."""
        try:
            paths = list((self.path / "attempts").iterdir())
        except FileNotFoundError:
            return []
        return sorted((path for path in paths if path.name.isdecimal()), key=lambda path: int(path.name))

    def latest(self) -> Attempt | None:
        """The last attempt, if any."""
        attempts = self.attempts()
        return Attempt(attempts[-1]) if attempts else None

    def new_attempt(self, holder: Holder = NOBODY, watch: Watch | None = None) -> Attempt:
        """Start over, as `holder`.

        Args:
            holder: Who is at it until a worker takes that over; nobody: it counts as lost.
            watch: Knows which claims of other machines are over; None: those that it would have to wait for are not.

        Raises:
            AlreadyRunning: Another process is at it, or has finished it.
        """
        latest, status = self.latest(), self.status()
        if status and status.state in FINISHED:
            raise AlreadyRunning(self.path)
        if status is None and latest and not (watch or Watch()).over(latest.claim):
            raise AlreadyRunning(self.path)
        if latest and self.status_path.exists():  # from before attempts without a result kept their commits
            self.status_path.replace(latest.status_path)
        number = 1 if latest is None else latest.number + latest.begun()
        attempt = Attempt(self.path / "attempts" / str(number))
        attempt.claim.take(holder)
        return attempt


@dataclass(frozen=True)
class Store:
    """All runs, studies and floors below one folder, which the first write makes."""

    root: Path

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, there or not."""
        return RunFolder(self.root / "runs" / _checked(run_id))

    def folders(self) -> Iterator[RunFolder]:
        """The runs that are there, by id."""
        return (RunFolder(path) for path in _listed(self.root / "runs", "*") if path.is_dir())

    def save_study(self, record: Mapping[str, Any]) -> None:
        """Keep what a sweep launched, in the place of an earlier sweep of that name.

        Keys: name, path, question, expect, overrides, metric, runs ([{"run_id", "factors": {dotted key: value},
        "baseline"}]).
        """
        self._save("studies", record["name"], record)

    def study_paths(self) -> list[Path]:
        """Records of studies, by name."""
        return _listed(self.root / "studies", "*.json")

    def search(self, name: str) -> SearchFolder:
        """The folder of a search, there or not."""
        return SearchFolder(self.root / "searches" / _checked(name))

    def searches(self) -> Iterator[SearchFolder]:
        """The searches that are there, by name."""
        return (SearchFolder(path) for path in _listed(self.root / "searches", "*") if path.is_dir())

    def save_floors(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep the n-gram losses of a data split.

        Keys: data_hash, data_source, valid_fraction, valid_bytes, bits_per_byte ({bytes of context: loss}).
        """
        self._save("floors", key, record)

    def has_floors(self, key: str) -> bool:
        """Whether a readable record of these floors is there."""
        return self._has("floors", key)

    def floor_paths(self) -> list[Path]:
        """Records of floors, by key."""
        return _listed(self.root / "floors", "*.json")

    def save_bench(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep what a bench has measured so far: columns of the view `benches`, those of each row under "rows"."""
        self._save("benches", name, record)

    def bench_paths(self) -> list[Path]:
        """Records of benches, oldest first."""
        return _listed(self.root / "benches", "*.json")

    def save_verified(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep what a verification found, all of it within tolerance.

        Keys: models, precision, device, torch, kernel, versions, code, rows, env, verified.
        """
        self._save("verified", key, record)

    def has_verified(self, key: str) -> bool:
        """Whether a readable record of that verification is there."""
        return self._has("verified", key)

    def _has(self, kind: str, name: str) -> bool:
        try:
            read_json(self.root / kind / f"{_checked(name)}.json")
        except (FileNotFoundError, DamagedError):
            return False
        return True

    def _save(self, kind: str, name: str, record: Mapping[str, Any]) -> None:
        path = self.root / kind / f"{_checked(name)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """UserError where the store cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{store.root}: cannot write there ({error.strerror}); name another folder") from error


def _listed(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r}: names in the store are letters, digits, '.', '_' and '-', with no '.' in front")
    return name
