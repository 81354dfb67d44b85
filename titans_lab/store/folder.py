"""The folder of a run and of its attempts. `titans_lab.store.store` describes the layout."""

from __future__ import annotations

import os
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
from titans_lab.store.records import (
    read_again,
    read_env,
    read_evaluation,
    read_explained,
    read_run,
    read_status,
    read_stop,
)
from titans_lab.store.status import BROKEN, COMMITTED_FILE, FINISHED, STOPPED, Status

WEIGHTS = "weights.pt"
_EVALUATION = re.compile(rf"evals/{PART}\.json")
_ATTEMPT = re.compile(NUMBER)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run: the folder <run>/attempts/<number>."""

    path: Path

    @property
    def number(self) -> int:
        """Return the number of the attempt, from 1."""
        return int(self.path.name)

    @property
    def folder(self) -> RunFolder:
        """Return the folder of the run."""
        return RunFolder(self.path.parent.parent)

    @property
    def env_path(self) -> Path:
        """Return the path of host, device and versions."""
        return self.path / "env.json"

    def env(self) -> dict[str, Any]:
        """Return host, device and versions, or nothing where the worker died before it had written them."""
        try:
            return read_env(self.env_path)
        except (FileNotFoundError, DamagedError):
            return {}

    @property
    def claim(self) -> Claim:
        """Return the claim, which says who works on the attempt."""
        return Claim(self.path / "claim")

    @property
    def status_path(self) -> Path:
        """Return the path of the commit, if the attempt ended without a result."""
        return self.path / "status.json"

    def status(self) -> Status | None:
        """Return the commit of the attempt, or None where there is none that can be read."""
        for path in (self.folder.status_path, self.status_path):
            with suppress(FileNotFoundError, DamagedError):
                status = read_status(path)
                if status.attempt == self.number:
                    return status
        return None

    def parquet_path(self, log: str) -> Path:
        """Return the Parquet file of one of `LOGS`, which is written at the end of the attempt."""
        return self.path / f"{log}.parquet"

    def begun(self) -> bool:
        """Return whether the folder has any file. A kill before the claim may leave it empty."""
        return any(self.path.iterdir())

    def superseded(self) -> bool:
        """Return whether the next attempt is claimed, because this attempt's worker counted as dead."""
        return Attempt(self.path.with_name(str(self.number + 1))).claim.taken()

    def lines_path(self, log: str) -> Path:
        """Return the path of the JSON lines of one of `LOGS`."""
        return self.path / f"{log}.jsonl"

    @property
    def metrics_path(self) -> Path:
        """Return the path of the JSON lines of the metrics, one per log step."""
        return self.lines_path("metrics")

    @property
    def weights_path(self) -> Path:
        """Return the path of the trained model: float32 tensors by name, for `torch.load`."""
        return self.path / WEIGHTS

    @property
    def state_path(self) -> Path:
        """Return the path of the state of the finished training, for `torch.load`: its steps and the optimizer's."""
        return self.path / "state.pt"

    @property
    def log_path(self) -> Path:
        """Return the path of the worker's stdout and stderr."""
        return self.path / "log.txt"

    @property
    def archived_path(self) -> Path:
        """Return the path of the commit of an attempt that had a result, if the run was requested again since."""
        return self.path / "archived.json"

    @property
    def stop_path(self) -> Path:
        """Return the path of the request to stop."""
        return self.path / "stop.json"

    @property
    def again_path(self) -> Path:
        """Return the path of the request to try the run again."""
        return self.path / "again.json"

    def ask_again(self, why: str) -> None:
        """Ask for another attempt after this one, although it failed or somebody stopped it."""
        write_json(self.again_path, {"why": why})

    def asked_again(self) -> bool:
        """Return whether somebody asked for another attempt after this one."""
        try:
            return bool(read_again(self.again_path))
        except (FileNotFoundError, DamagedError):
            return False

    def ask_to_stop(self, state: str, why: str, resumable: bool = False) -> None:
        """Ask the worker, on whatever host, to commit `state`, one of `STOPPED`, and the reason.

        The last request counts.

        Args:
            state: The state.
            why: The reason.
            resumable: Whether another worker may continue the run although nobody asks for that.
        """
        assert state in STOPPED, state
        write_json(self.stop_path, {"state": state, "why": why, "resumable": resumable})

    def asked_to_stop(self) -> tuple[str, str] | None:
        """Return the state to commit and the reason, or None without a readable request."""
        asked = self._stop()
        return (asked["state"], asked["why"]) if asked else None

    def stopped_for_good(self) -> bool:
        """Return whether somebody asked the attempt to stop, and not only for another worker to continue it."""
        asked = self._stop()
        return asked is not None and not asked.get("resumable")

    def _stop(self) -> dict[str, Any] | None:
        try:
            return read_stop(self.stop_path)
        except (FileNotFoundError, DamagedError):
            return None

    @property
    def explained_path(self) -> Path:
        """Return the path of what a cluster says about the end of the attempt."""
        return self.path / "explained.json"

    def explain(self, why: str) -> None:
        """Record what a cluster says about the end of the attempt."""
        write_json(self.explained_path, {"why": why})

    def explained(self) -> str | None:
        """Return what a cluster says about the end of the attempt, or None where it says nothing."""
        try:
            return read_explained(self.explained_path)["why"]
        except (FileNotFoundError, DamagedError):
            return None


@dataclass(frozen=True)
class RunFolder:
    """The records of one run. The folder's name is the run's id."""

    path: Path

    @property
    def run_id(self) -> str:
        """Return the run's id: the hash of what decides its numbers."""
        return self.path.name

    @property
    def store(self) -> Path:
        """Return the root of the store."""
        return self.path.parents[1]

    @property
    def record_path(self) -> Path:
        """Return the path of the run's record: its configuration, seed and data."""
        return self.path / "run.json"

    @property
    def status_path(self) -> Path:
        """Return the path of the commit of the first attempt with a result."""
        return self.path / "status.json"

    def parquet_path(self, log: str) -> Path:
        """Return the Parquet file of one of `LOGS`, of the attempt whose commit counts."""
        status = self.status()
        name = status and status.log_file(log)
        return self.committed_path(name) if name else self.path / f"{log}.parquet"

    def committed_path(self, name: str) -> Path:
        """Return the path of a committed file, a key of the commit's `files`.

        Raises:
            DamagedError: A link leads out of this folder.
        """
        try:
            return path_of(self.path, name, COMMITTED_FILE)
        except ForeignName as error:
            raise DamagedError(self.path / name, leads_out(self.path)) from error

    @property
    def metrics_path(self) -> Path:
        """Return the Parquet file of the metrics, of the attempt whose commit counts."""
        return self.parquet_path("metrics")

    def commit_path(self) -> Path:
        """Return the path of the commit that counts.

        That is the commit with a result, or else the last attempt's. It need not exist.
        """
        latest = None if os.path.lexists(self.status_path) else self.latest()
        return latest.status_path if latest else self.status_path

    def evaluation_path(self, name: str) -> Path:
        """Return the path of a later evaluation."""
        return path_of(self.path, f"evals/{name}.json", _EVALUATION)

    def evaluation_paths(self) -> list[Path]:
        """Return the paths of all later evaluations, by name."""
        return listed(self.path / "evals", "*.json")

    def evaluation(self, name: str) -> dict[str, Any] | None:
        """Return a later evaluation, or None where there is none that can be read."""
        try:
            return read_evaluation(self.evaluation_path(name))
        except (FileNotFoundError, DamagedError):
            return None

    def save_evaluation(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a later evaluation.

        The record has rows of the view `evals` under "rows", and the request, the data, the time and the machine.
        """
        path = self.evaluation_path(name)
        path.parent.mkdir(exist_ok=True)
        write_json(path, record)

    def create(self, record: Mapping[str, Any]) -> None:
        """Write the run's record unless there is a readable one."""
        try:
            read_run(self.record_path)
        except (FileNotFoundError, DamagedError):
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.record_path, record)

    def record(self) -> dict[str, Any]:
        """Return the run's record. Raise UserError where it cannot be read."""
        try:
            return read_run(self.record_path)
        except FileNotFoundError:
            raise UserError(f"{self.record_path}: not there; sweep the study that this run belongs to") from None

    def status(self) -> Status | None:
        """Return the commit that counts, or None where there is none that can be read."""
        try:
            return read_status(self.commit_path())
        except (FileNotFoundError, DamagedError):
            return None

    def state(self) -> str:
        """Return the state of the run, one of `STATES`."""
        status = self.status()
        if status is None:
            latest = self.latest()
            if latest is None:
                return "pending"
            if latest.claim.seems_alive():
                return "running"
            status = self.status()  # it may have ended since the first look
        return status.state if status else "lost"

    def given_up(self) -> bool:
        """Return whether the run failed or was stopped by somebody, and nobody has asked for another attempt since."""
        latest, state = self.latest(), self.state()
        if latest is None or latest.asked_again():
            return False
        return state in BROKEN or (state in STOPPED and latest.stopped_for_good())

    def attempts(self) -> list[Path]:
        """Return the folders of the attempts, oldest first."""
        folder = self.path / "attempts"
        try:
            names = folders_in(folder) if is_inside(self.path, folder) else []
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [folder / name for name in sorted(filter(_ATTEMPT.fullmatch, names), key=int)]

    def attempt(self, number: int) -> Attempt:
        """Return the attempt with a number. It need not exist."""
        return Attempt(self.path / "attempts" / str(number))

    def latest(self) -> Attempt | None:
        """Return the last attempt, or None where there is none."""
        attempts = self.attempts()
        return Attempt(attempts[-1]) if attempts else None

    def archive(self) -> None:
        """Move the run's result into the folder of its attempt, so that the next sweep executes the run again."""
        attempt = self.attempt(read_status(self.status_path).attempt)
        with suppress(FileNotFoundError):
            (self.path / "evals").rename(attempt.path / "evals")  # they evaluated that attempt's weights
        self.status_path.replace(attempt.archived_path)

    def new_attempt(self, holder: Holder = NOBODY, watch: Watch | None = None) -> Attempt:
        """Begin an attempt, claimed by `holder`.

        Args:
            holder: The holder of the claim until a worker takes it over. With `NOBODY` the attempt counts as lost.
            watch: Finds out which claims of other machines have expired. None: no claim counts as expired.

        Raises:
            AlreadyRunning: Another process executes the run, or has finished it.
        """
        latest, status = self.latest(), self.status()
        if status is None and latest:
            if not (watch or Watch()).over(latest.claim):
                raise AlreadyRunning(self.path)
            status = self.status()  # it may have ended since the first look
        if status and status.state in FINISHED:
            raise AlreadyRunning(self.path)
        if latest and os.path.lexists(self.status_path):  # it is damaged, and the next commit needs its name
            self.status_path.replace(latest.status_path)
        number = 1 if latest is None else latest.number + latest.begun()
        attempt = self.attempt(number)
        attempt.claim.take(holder)
        return attempt
