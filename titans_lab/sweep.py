"""The coordinator: runs that are missing go to devices that are free, until none is left."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from titans_lab.errors import UserError
from titans_lab.executors.base import Executor, Job
from titans_lab.executors.devices import Device
from titans_lab.executors.slots import DeviceBusy
from titans_lab.spending import Spent
from titans_lab.store.claims import AlreadyRunning
from titans_lab.store.files import write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import commit_dead
from titans_lab.store.status import FINISHED, STOPPED
from titans_lab.store.store import Store, writing
from titans_lab.store.succession import can_halve
from titans_lab.study.run import Run, record_of
from titans_lab.study.terms import Budget

POLL_SECONDS = 0.2
SHORT_SECONDS = 0.01
PATIENCE_SECONDS = 30.0  # for a run that was asked to stop to take the step that it is at


def record_runs(runs: Sequence[Run], store: Store, seconds: Mapping[str, float] | None = None) -> list[Run]:
    """Write what each run is; those that have no result yet.

    Args:
        runs: All of them.
        store: Where.
        seconds: That runs are expected to take, by id, as far as that is known.

    Raises:
        UserError: The store cannot be written.
    """
    expected = seconds or {}
    with writing(store):
        states = [_record(run, expected.get(run.run_id), store.run(run.run_id)) for run in runs]
    return [run for run, state in zip(runs, states, strict=True) if state not in FINISHED]


def record_study(record: Mapping[str, Any], store: Store) -> None:
    """Write what a sweep launches, as of `Study.record`. UserError where the store cannot be written."""
    with writing(store):
        store.save_study(record)


def _record(run: Run, seconds: float | None, folder: RunFolder) -> str:
    """Write what a run is; its state. Until it is finished its data may move, or it may be logged more often.

    The seconds that a run is expected to take stay those that were known before its first attempt.
    """
    record = record_of(run, run.config.data_source()) | {"predicted_seconds": seconds}
    folder.create(record)
    if folder.latest():
        record["predicted_seconds"] = folder.record().get("predicted_seconds")
    state = folder.state()
    if state not in FINISHED and folder.record() != record:
        write_json(folder.record_path, record)
    return state


@dataclass
class Sweep:
    """The state of a sweep, which a view may look at after every turn.

    Attributes:
        store: Where the runs are recorded; their folders exist.
        executor: Starts the workers.
        devices: One worker at a time each, of all sweeps on this machine.
        waiting: Runs not yet started, next first; a view may add some.
        active: The worker of each run that is running here.
        ended: Final state of each run that this sweep ran.
        skipped: Final state of each run that was finished already, or by another sweep meanwhile.
        budget: What may be spent before no more are started; what runs then is finished.
        timeout: Seconds that a run may take from its start here.
        most: Runs at a time; None: as many as there are devices.
        fail_fast: Whether the first run that fails ends the sweep.
        spent: What was of the budget.
        begun: When each run was first seen at work, by a clock that is steady.
        asked: When each active run that shall end was asked to.
        used: Places that runs of this sweep were at: a worker may be kept there, which holds the place.
        others: Runs that other sweeps were at: where such a one was told to stop, it is not begun again here.
    """

    store: Store
    executor: Executor
    devices: Sequence[Device]
    waiting: list[Run]
    active: dict[str, tuple[Run, Job]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    timeout: float = math.inf
    most: int | None = None
    fail_fast: bool = False
    spent: Spent = field(default_factory=Spent)
    begun: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    used: set[Device] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def run(self, look: Callable[[Sweep], bool | None]) -> None:
        """Run all that is waiting; one that fails stops no other. However this ends, no worker is left behind.

        Args:
            look: Called after each turn. Where it returns True more runs may come to wait, and the sweep goes on.
        """
        words = "the sweep was interrupted"
        try:
            for pause in self._turns(look):
                time.sleep(pause)
            words = "another run failed, and --fail-fast was given"
        except OSError as error:
            raise UserError(
                f"{self.store.root}: cannot write there ({error.strerror}); the workers are stopped, and no finished "
                "run is lost; mend that, and the same command goes on from here"
            ) from error
        finally:
            self._end_all(words)
            self.executor.rest()

    def stop(self, run_id: str, state: str, why: str) -> None:
        """Have a run end in `state`, one of `STOPPED`, within seconds; it is among `active` until it has."""
        if run_id in self.active:
            self.active[run_id][1].attempt.ask_to_stop(state, why)
            self.asked[run_id] = time.monotonic()

    def state(self, run_id: str) -> str:
        """Of a run of the study, as far as this sweep knows."""
        return self.ended.get(run_id) or self.skipped.get(run_id) or self.store.run(run_id).state()

    @property
    def failed(self) -> list[str]:
        """Ids of the runs that ended without a result."""
        return [run_id for run_id, state in (self.skipped | self.ended).items() if state not in FINISHED]

    @property
    def broken(self) -> bool:
        """Whether a run ended without a result although nobody asked it to."""
        return any(state not in FINISHED | STOPPED for state in self.ended.values())

    @property
    def halted(self) -> bool:
        """Whether nothing more begins, for a run failed and that was to be the end."""
        return self.fail_fast and self.broken

    def _turns(self, look: Callable[[Sweep], bool | None]) -> Iterator[float]:
        """Seconds to wait after each turn: few where something has just happened, as more is then to be expected."""
        pause = POLL_SECONDS
        while True:
            before = len(self.ended), len(self.waiting)
            self._collect()
            self._stop_late()
            over = self.spent.by(len(self.active), time.monotonic()).over(self.budget)
            halted = self.halted
            blocked = list(self.waiting) if over or halted else self.launch()
            more = look(self)
            if halted or not (self.active or (not over and (self.waiting or more))):
                return
            if self.waiting == blocked:
                self.executor.rest()
            changed = before != (len(self.ended), len(self.waiting))
            pause = SHORT_SECONDS if changed else min(2 * pause, POLL_SECONDS)
            yield pause

    def _collect(self) -> None:
        for run_id, (run, job) in list(self.active.items()):
            words = job.poll()
            if words is None:
                continue
            del self.active[run_id]
            for times in (self.begun, self.asked):
                times.pop(run_id, None)
            if job.attempt.superseded() and job.attempt.status() is None:
                self.waiting.append(run)  # another sweep took our worker for dead, and is at it
                continue
            state = self._final_state(job, "oom" if job.out_of_memory() else "failed", words)
            if state == "oom" and job.out_of_memory() and can_halve(job.attempt):
                self.waiting.insert(0, run)  # a worker that lives to see it halves its micro-batch itself
            else:
                self.ended[run_id] = state
                _check_room(job.attempt)

    def _stop_late(self) -> None:
        """Stop what takes too long, by force where it does not heed."""
        now = time.monotonic()
        for run_id, (_, job) in self.active.items():
            if run_id not in self.asked:
                if now - self.begun.setdefault(run_id, now) > self.timeout:
                    self.stop(run_id, "timeout", f"took more than the {self.timeout:g} s that --timeout allows")
            elif now - self.asked[run_id] > PATIENCE_SECONDS:
                job.terminate()
                job.wait()

    def _final_state(self, job: Job, state: str, words: str) -> str:
        """What the worker committed; where it died before, what it was asked for or `state` is committed for it."""
        committed = job.attempt.status()
        if committed is None:
            state, words = job.attempt.asked_to_stop() or (state, words)
            try:
                commit_dead(job.attempt, state, words)
            except (IsADirectoryError, NotADirectoryError) as error:  # of this run alone: the others go on
                path = error.filename2 or error.filename
                print(f"{path}: is a folder where a file belongs; `titans-lab doctor --fix` moves it", file=sys.stderr)
                return "lost"
            committed = job.attempt.status() or job.attempt.folder.status()  # another attempt's, which was the first
        return committed.state if committed else state

    def launch(self) -> list[Run]:
        """Start what can be started; the runs for which there is a place, and which others are at."""
        free = self._free()
        blocked: list[Run] = []
        for run in list(self.waiting):
            if not free or len(self.active) == self.most:
                return []
            folder = self.store.run(run.run_id)
            if (state := folder.state()) in FINISHED or self._stopped_elsewhere(folder, state):
                self.skipped[run.run_id] = state
                self.waiting.remove(run)
                continue
            folder.create(record_of(run, run.config.data_source()))  # where `titans-lab rm` has moved it meanwhile
            job = self._start(folder, free)
            if job is None:
                blocked.append(run)
                continue
            self.others.discard(run.run_id)
            self.waiting.remove(run)
            self.active[run.run_id] = run, job
        return blocked

    def _free(self) -> list[Device]:
        busy = {job.device for _, job in self.active.values()}
        free = [device for device in self.devices if device not in busy]
        return sorted(free, key=lambda device: device not in self.used)

    def _start(self, folder: RunFolder, free: list[Device]) -> Job | None:
        """A worker in the first of the places that is free indeed; None where another sweep is at the run."""
        while free:
            device = free.pop(0)
            try:
                job = self.executor.submit(folder, device)
                self.used.add(device)
                return job
            except DeviceBusy:
                continue
            except AlreadyRunning:
                free.insert(0, device)
                self.others.add(folder.run_id)
                return None
        return None

    def _stopped_elsewhere(self, folder: RunFolder, state: str) -> bool:
        """Whether another sweep was at it, and somebody wanted it to end, and not just that sweep."""
        latest = folder.latest() if folder.run_id in self.others and state in STOPPED else None
        return latest is not None and latest.asked_to_stop() is not None

    def _end_all(self, words: str) -> None:
        """End the workers that are left; in an undisturbed sweep there are none."""
        for _, job in self.active.values():
            job.terminate()
        for _, job in self.active.values():
            job.wait()
        for run_id, (_, job) in self.active.items():
            try:
                self.ended[run_id] = self._final_state(job, "cancelled", words)
            except OSError:  # the store cannot be written: without a commit the run counts as lost
                self.ended[run_id] = "lost"
        self.active.clear()


def _check_room(attempt: Attempt) -> None:
    """OSError where a run failed because nothing more can be written: the next one would fail, too."""
    status = attempt.status()
    error = (status.error if status else None) or ""
    for code in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {code}]" in error.strip().rpartition("\n")[2]:
            raise OSError(code, os.strerror(code))
