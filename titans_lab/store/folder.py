"""The folder of a run, and its attempts; `titans_lab.store.store` has the layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.store.claims import NOBODY, AlreadyRunning, Claim, Holder, Watch
from titans_lab.store.files import DamagedError, write_json
from titans_lab.store.names import NUMBER, PART, ForeignName, folders_in, is_inside, leads_out, listed, path_of
from titans_lab.store.records import read_env, read_evaluation, read_run, read_status, read_stop
from titans_lab.store.status import COMMITTED_FILE, FINISHED, STOPPED, Status

_EVALUATION = re.compile(rf"evals/{PART}\.json")
_ATTEMPT = re.compile(NUMBER)


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

    def env(self) -> dict[str, Any]:
        """What is in it; nothing where the worker died before, or while, it wrote that."""
        try:
            return read_env(self.env_path)
        except (FileNotFoundError, DamagedError):
            return {}

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
                status = read_status(path)
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
    def archived_path(self) -> Path:
        """Its commit, where the run was asked for again although that had a result."""
        return self.path / "archived.json"

    @property
    def stop_path(self) -> Path:
        """There where the worker was asked to stop."""
        return self.path / "stop.json"

    def ask_to_stop(self, state: str, why: str) -> None:
        """Have the worker, on whatever host, commit `state`, one of `STOPPED`, and why; the last request counts."""
        assert state in STOPPED, state
        write_json(self.stop_path, {"state": state, "why": why})

    def asked_to_stop(self) -> tuple[str, str] | None:
        """Return the state to commit and why; None where nobody asked, or the request cannot be read."""
        try:
            asked = read_stop(self.stop_path)
        except (FileNotFoundError, DamagedError):
            return None
        return asked["state"], asked["why"]


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
        return self.committed_path(name) if name else self.path / f"{log}.parquet"

    def committed_path(self, name: str) -> Path:
        """Return the path of a file that a commit of this run vouches for, a key of its `files`.

        Raises:
            DamagedError: A link leads to somewhere else than this folder.
        """
        try:
            return path_of(self.path, name, COMMITTED_FILE)
        except ForeignName as error:
            raise DamagedError(self.path / name, leads_out(self.path)) from error

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
        return path_of(self.path, f"evals/{name}.json", _EVALUATION)

    def evaluation_paths(self) -> list[Path]:
        """Those of all that there are, by name."""
        return listed(self.path / "evals", "*.json")

    def evaluation(self, name: str) -> dict[str, Any] | None:
        """A later evaluation; None where there is none that can be read."""
        try:
            return read_evaluation(self.evaluation_path(name))
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
            read_run(self.record_path)
        except (FileNotFoundError, DamagedError):
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.record_path, record)

    def record(self) -> dict[str, Any]:
        """What the run is; UserError where that cannot be read."""
        try:
            return read_run(self.record_path)
        except FileNotFoundError:
            raise UserError(f"{self.record_path}: not there; sweep the study that this run belongs to") from None

    def status(self) -> Status | None:
        """The commit that counts; None where there is none that can be read."""
        try:
            return read_status(self.commit_path())
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
        folder = self.path / "attempts"
        try:
            names = folders_in(folder) if is_inside(self.path, folder) else []
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [folder / name for name in sorted(filter(_ATTEMPT.fullmatch, names), key=int)]

    def attempt(self, number: int) -> Attempt:
        """One of them, there or not."""
        return Attempt(self.path / "attempts" / str(number))

    def latest(self) -> Attempt | None:
        """The last attempt, if any."""
        attempts = self.attempts()
        return Attempt(attempts[-1]) if attempts else None

    def archive(self) -> None:
        """Have the next sweep run it again, although it has a result, which moves into the folder of its attempt."""
        attempt = self.attempt(read_status(self.status_path).attempt)
        with suppress(FileNotFoundError):
            (self.path / "evals").rename(attempt.path / "evals")  # they are of its weights
        self.status_path.replace(attempt.archived_path)

    def new_attempt(self, holder: Holder = NOBODY, watch: Watch | None = None) -> Attempt:
        """Start over, as `holder`.

        Args:
            holder: Who is at it until a worker takes that over; nobody: it counts as lost.
            watch: Knows which claims of other machines are over; None: those that it would have to wait for are not.

        Raises:
            AlreadyRunning: Another process is at it, or has finished it.
        """
        latest, status = self.latest(), self.status()
        if status is None and latest:
            if not (watch or Watch()).over(latest.claim):
                raise AlreadyRunning(self.path)
            status = self.status()  # it may have ended since the first look
        if status and status.state in FINISHED:
            raise AlreadyRunning(self.path)
        if latest and self.status_path.exists():  # from before attempts without a result kept their commits
            self.status_path.replace(latest.status_path)
        number = 1 if latest is None else latest.number + latest.begun()
        attempt = self.attempt(number)
        attempt.claim.take(holder)
        return attempt
