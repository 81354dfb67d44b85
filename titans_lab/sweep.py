"""The coordinator: runs that are missing go to devices that are free, until none is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from titans_lab.errors import UserError
from titans_lab.executors.base import Executor, Job
from titans_lab.executors.devices import Device
from titans_lab.sources import data_source
from titans_lab.store.claims import AlreadyRunning
from titans_lab.store.files import write_json
from titans_lab.store.folder import FINISHED, STOPPED, RunFolder, Store, writing
from titans_lab.store.recorder import commit_dead
from titans_lab.study.record import record_of
from titans_lab.study.study import Run
from titans_lab.study.terms import Budget

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 30.0  # for a run that was asked to stop to take the step that it is at


def record_runs(runs: Sequence[Run], store: Store) -> list[Run]:
    """Write what each run is; those that have no result yet. UserError where the store cannot be written."""
    with writing(store):
        return [run for run in runs if _record(run, store.run(run.run_id)) not in FINISHED]


def record_study(record: Mapping[str, Any], store: Store) -> None:
    """Write what a sweep launches, as of `study_record`. UserError where the store cannot be written."""
    with writing(store):
        store.save_study(record)


def _record(run: Run, folder: RunFolder) -> str:
    """Write what a run is; its state. Until it is finished its data may move, or it may be logged more often."""
    record = record_of(run, data_source(run.config))
    folder.create(record)
    state = folder.state()
    if state not in FINISHED and folder.record() != record:
        write_json(folder.record_path, record)
    return state


@dataclass
class Spent:
    """Time since the sweep began, and the same for each device while it was at work: seconds of a clock that is steady.

    Attributes:
        begun: When the sweep began; None: it has not.
        looked: When time was last counted.
        devices: Seconds of all devices together.
    """

    begun: float | None = None
    looked: float = 0.0
    devices: float = 0.0

    def by(self, busy: int, now: float) -> Spent:
        """Counts what passed since the last look, in which so many devices were at work."""
        if self.begun is None:
            self.begun = self.looked = now
        self.devices += busy * (now - self.looked)
        self.looked = now
        return self

    def over(self, budget: Budget) -> bool:
        """Whether a budget is spent."""
        wall = self.looked - (self.begun or self.looked)
        return wall >= 3600 * (budget.hours or math.inf) or self.devices >= 3600 * (budget.gpu_hours or math.inf)


@dataclass
class Sweep:
    """The state of a sweep, which a view may look at after every turn.

    Attributes:
        store: Where the runs are recorded; their folders exist.
        executor: Starts the workers.
        devices: One worker at a time each.
        waiting: Runs not yet started, next first; a view may add some.
        active: The worker of each run that is running here.
        ended: Final state of each run that this sweep ran.
        skipped: Final state of each run that was finished already, or by another sweep meanwhile.
        budget: What may be spent before no more are started; what runs then is finished.
        timeout: Seconds that a run may take from its start here.
        fail_fast: Whether the first run that fails ends the sweep.
        spent: What was of the budget.
        begun: When each run was first seen at work, by a clock that is steady.
        asked: When each active run that shall end was asked to.
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
    fail_fast: bool = False
    spent: Spent = field(default_factory=Spent)
    begun: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)

    def run(self, look: Callable[[Sweep], bool | None]) -> None:
        """Run all that is waiting; one that fails stops no other. However this ends, no worker is left behind.

        Args:
            look: Called after each turn. Where it returns True more runs may come to wait, and the sweep goes on.
        """
        words = "the sweep was interrupted"
        try:
            while self._turn(look):
                time.sleep(POLL_SECONDS)
            words = "another run failed, and --fail-fast was given"
        except OSError as error:
            raise UserError(
                f"{self.store.root}: cannot write there ({error.strerror}); the workers are stopped, and no finished "
                "run is lost; mend that, and the same command goes on from here"
            ) from error
        finally:
            self._end_all(words)

    def stop(self, run_id: str, state: str, why: str) -> None:
        """Have a run end in `state`, one of `STOPPED`, within seconds; it is among `active` until it has."""
        if run_id in self.active:
            self.active[run_id][1].attempt.ask_to_stop(state, why)
            self.asked[run_id] = time.monotonic()

    @property
    def failed(self) -> list[str]:
        """Ids of the runs that ended without a result."""
        return [run_id for run_id, state in self.ended.items() if state not in FINISHED]

    @property
    def broken(self) -> bool:
        """Whether a run ended without a result although nobody asked it to."""
        return any(state not in FINISHED | STOPPED for state in self.ended.values())

    def _turn(self, look: Callable[[Sweep], bool | None]) -> bool:
        """Whether there is another one to come."""
        self._collect()
        self._stop_late()
        over = self.spent.by(len(self.active), time.monotonic()).over(self.budget)
        over = over or (self.fail_fast and self.broken)
        if not over:
            self._launch()
        more = look(self)
        if self.fail_fast and self.broken:
            return False
        return bool(self.active or (not over and (self.waiting or more)))

    def _collect(self) -> None:
        for run_id, (_, job) in list(self.active.items()):
            words = job.poll()
            if words is not None:
                self.ended[run_id] = self._final_state(job, "failed", words)
                del self.active[run_id]
                self.asked.pop(run_id, None)

    def _stop_late(self) -> None:
        """Stop what takes too long, by force where it does not heed."""
        now = time.monotonic()
        for run_id, (_, job) in self.active.items():
            if run_id not in self.asked:
                if now - self.begun.setdefault(run_id, now) > self.timeout:
                    self.stop(run_id, "timeout", f"took more than {self.timeout:g} s, as --timeout allows")
            elif now - self.asked[run_id] > PATIENCE_SECONDS:
                job.terminate()
                job.wait()

    def _final_state(self, job: Job, state: str, words: str) -> str:
        """What the worker committed; where it died before, what it was asked for or `state` is committed for it."""
        committed = job.attempt.status()
        if committed is None:
            state, words = job.attempt.asked_to_stop() or (state, words)
            commit_dead(job.attempt, state, words)
            committed = job.attempt.status() or job.attempt.folder.status()  # another attempt's, which was the first
        return committed.state if committed else state

    def _launch(self) -> None:
        busy = {job.device for _, job in self.active.values()}
        free = [device for device in self.devices if device not in busy]
        for run in list(self.waiting):
            if not free:
                return
            folder = self.store.run(run.run_id)
            if (state := folder.state()) in FINISHED:
                self.skipped[run.run_id] = state
                self.waiting.remove(run)
                continue
            try:
                job = self.executor.submit(folder, free[0])
            except AlreadyRunning:
                continue  # by another sweep: look again at the next turn
            free.pop(0)
            self.waiting.remove(run)
            self.active[run.run_id] = run, job

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
