"""The coordinator of a sweep: give the runs without a result to free devices until none is left."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from titans_lab.errors import UserError
from titans_lab.executors.base import Executor, Job
from titans_lab.executors.devices import Device, joined, on_distinct_devices
from titans_lab.executors.slots import DeviceBusy
from titans_lab.run.run import Run, record_of
from titans_lab.spending import Spent
from titans_lab.store.claims import AlreadyRunning, Watch
from titans_lab.store.files import write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.parents import Obstacle, obstacle
from titans_lab.store.recorder import commit_dead
from titans_lab.store.status import FINISHED, STOPPED
from titans_lab.store.store import Store, writing
from titans_lab.store.succession import can_halve
from titans_lab.study.terms import Budget

POLL_SECONDS = 0.2
SHORT_SECONDS = 0.01
BLOCKED_SECONDS, MOST_BLOCKED_SECONDS = (
    0.01,
    5.0,
)  # between two looks at runs that others execute: for each, and at most
PATIENCE_SECONDS = 30.0  # the time for a run that was asked to stop to finish its current step


def record_runs(runs: Sequence[Run], store: Store, seconds: Mapping[str, float] | None = None) -> list[Run]:
    """Write the record of each run, and return the runs without a result.

    Args:
        runs: All runs.
        store: The store to write to.
        seconds: The predicted seconds of runs, by id, as far as they are known.

    Raises:
        UserError: The store cannot be written.
    """
    expected = seconds or {}
    with writing(store):
        states = [_record(run, expected.get(run.run_id), store.run(run.run_id)) for run in runs]
    return [run for run, state in zip(runs, states, strict=True) if state not in FINISHED]


def record_study(record: Mapping[str, Any], store: Store) -> None:
    """Write the record of a study: see `Study.record`. Raise UserError where the store cannot be written."""
    with writing(store):
        store.save_study(record)


def _record(run: Run, seconds: float | None, folder: RunFolder) -> str:
    """Write the record of a run, and return its state. The record may change until the run is finished.

    Changes of values outside of the identity are allowed: the path of the data, or how often it logs. The predicted
    seconds stay those from before the first attempt.
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
class Notice:
    """A request to a worker to leave its runs to others, which a signal may bring at any time.

    Attributes:
        given: Whether the request was made.
    """

    given: bool = False

    def give(self) -> None:
        """Make the request."""
        self.given = True


@dataclass(frozen=True)
class Share:
    """The part of a study that one of several workers may take. It leaves runs that others execute or that failed.

    Attributes:
        runs: The most runs that it starts.
        deadline: The time, by `time.monotonic`, at which it stops its runs, for others to resume.
        needed: Seconds that each run takes to its first checkpoint, by its id. A run that would not
            reach it by the deadline is not started.
        who: The worker, in words, such as "Slurm job 12_3".
        notice: The request to do before the deadline what it does then.
    """

    runs: float = math.inf
    deadline: float = math.inf
    needed: Mapping[str, float] = field(default_factory=dict)
    who: str = "worker"
    notice: Notice = field(default_factory=Notice)

    @property
    def over(self) -> bool:
        """Return whether its time is over."""
        return self.notice.given or time.monotonic() > self.deadline

    def allows(self, run_id: str, started: int) -> bool:
        """Return whether a run may be started now, after so many others."""
        in_time = time.monotonic() + self.needed.get(run_id, 0.0) < self.deadline
        return started < self.runs and in_time and not self.notice.given


@dataclass
class Sweep:
    """The state of a sweep, which a view may read after every turn.

    Attributes:
        store: The store of the runs, whose folders exist.
        executor: The executor that starts the workers.
        devices: The device slots. Each has one worker at a time, of all sweeps on this machine.
        waiting: Runs not yet started, in order. A view may add some.
        active: The worker of each run that this sweep executes.
        ended: Final state of each run that this sweep executed.
        skipped: Final state of each run that had a result already, or that another sweep has finished since.
        budget: The time after which no run is started. Running ones are finished.
        timeout: Seconds that a run may take from its start in this sweep.
        most: The most runs at a time. None: one per device slot.
        fail_fast: Whether the first run that fails ends the sweep.
        share: The part of the runs that it may take. None: all.
        left: Runs that it leaves to other workers.
        orphans: The runs that cannot begin because their parents have no weights, by id: the reason.
        watch: Finds out which of the runs of others are in living hands.
        spent: The part of the budget that is spent.
        begun: The time at which each run was first seen running, by a monotonic clock.
        asked: The time at which an active run was asked to stop, for each run that was.
        started: The number of attempts that were started.
        used: Device slots used so far. An idle worker may still occupy one.
        others: Runs that other sweeps execute. One that is asked to stop there is not started again here.
        holders: The sweeps that hold devices in use, in words, by the device's name.
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
    share: Share | None = None
    left: list[Run] = field(default_factory=list)
    orphans: dict[str, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    spent: Spent = field(default_factory=Spent)
    begun: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    started: int = 0
    used: set[Device] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    holders: dict[str, str] = field(default_factory=dict)

    def run(self, look: Callable[[Sweep], bool | None]) -> None:
        """Execute all waiting runs.

        A run that fails stops no other. However the sweep ends, it leaves no worker behind.

        Args:
            look: A function that is called after each turn. If it returns True, the sweep goes on for runs that it may
                add.
        """
        words = f"the {self.share.who} was ended" if self.share else "the sweep was interrupted"
        try:
            for pause in self._turns(look):
                time.sleep(pause)
            late = f"the time of the {self.share.who} is over" if self.share else ""
            words = "another run failed, and --fail-fast was given" if self.halted else late
        except OSError as error:
            raise UserError(
                f"{self.store.root}: cannot write there ({error.strerror}); the workers are stopped, and no finished "
                "run is lost; mend that, then repeat the command to resume"
            ) from error
        finally:
            self._end_all(words)
            self.executor.rest()

    def stop(self, run_id: str, state: str, why: str) -> None:
        """Ask an active run to end in `state`, one of `STOPPED`.

        It stays in `active` for the seconds that this takes.
        """
        if run_id in self.active:
            self.attempt(run_id).ask_to_stop(state, why)
            self.asked[run_id] = time.monotonic()

    def attempt(self, run_id: str) -> Attempt:
        """Return the attempt at an active run."""
        return self.active[run_id][1].attempt

    def state(self, run_id: str) -> str:
        """Return the state of a run of the study, as far as this sweep knows."""
        return self.ended.get(run_id) or self.skipped.get(run_id) or self.store.run(run_id).state()

    @property
    def out_of_time(self) -> bool:
        """Return whether it leaves runs that another worker may take because its time is over.

        A worker whose whole time was too short for any run is not out of time: the next one would do no better.
        """
        share = self.share
        if share is None or not (share.notice.given or share.deadline < math.inf):
            return False
        stopped = (run_id for run_id, state in self.ended.items() if state in STOPPED)
        ids = [run.run_id for run in (*self.waiting, *self.left)] + list(stopped)
        had_time = self.started > 0 or share.notice.given  # a signal may come before the first run
        return had_time and self.started < share.runs and any(self._claimable(self.store.run(run_id)) for run_id in ids)

    @staticmethod
    def _claimable(folder: RunFolder) -> bool:
        return folder.state() not in FINISHED | {"running"} and not folder.given_up()

    @property
    def failed(self) -> list[str]:
        """Return the ids of the runs that ended without a result."""
        return [run_id for run_id, state in (self.skipped | self.ended).items() if state not in FINISHED]

    @property
    def broken(self) -> bool:
        """Return whether a run ended without a result although nobody asked it to stop."""
        return any(state not in FINISHED | STOPPED for state in self.ended.values())

    @property
    def halted(self) -> bool:
        """Return whether no more runs are started because one failed and `fail_fast` is set."""
        return self.fail_fast and self.broken

    @property
    def why(self) -> str:
        """Return the reason why no more runs are started, or "" where they are."""
        return "a run failed" if self.halted else ""

    def _turns(self, look: Callable[[Sweep], bool | None]) -> Iterator[float]:
        """Yield the seconds to wait after each turn: few after an event, because more are then likely."""
        pause = POLL_SECONDS
        while True:
            before = len(self.ended), len(self.waiting)
            self._collect()
            self._stop_late()
            over = self.spent.by(len(self._busy()), time.monotonic()).over(self.budget)
            halted = self.halted
            blocked = list(self.waiting) if over or halted else self.launch()
            more = look(self)
            if halted or (self.share and self.share.over) or (not more and self._leaves(blocked)):
                return
            if not (self.active or (not over and (self.waiting or more))):
                return
            if self.waiting == blocked:
                self.executor.rest()
            changed = before != (len(self.ended), len(self.waiting))
            pause = SHORT_SECONDS if changed else min(2 * pause, POLL_SECONDS)
            yield max(pause, min(BLOCKED_SECONDS * len(blocked), MOST_BLOCKED_SECONDS) if self.others else 0.0)

    def _leaves(self, blocked: Sequence[Run]) -> bool:
        """Return whether nothing is left for a worker but runs in the hands of others that live."""
        if self.share is None or self.active or self.waiting != blocked:
            return False
        hands = [self.store.run(run.run_id).latest() for run in blocked]
        return all(attempt is not None and self.watch.lives(attempt.claim) for attempt in hands)

    def _collect(self) -> None:
        for run_id, (run, job) in list(self.active.items()):
            words = job.poll()
            if words is None:
                continue
            del self.active[run_id]
            for times in (self.begun, self.asked):
                times.pop(run_id, None)
            if job.attempt.superseded() and job.attempt.status() is None:
                self.waiting.append(run)  # another sweep counted our worker as dead, and has taken over the run
                continue
            state = self._final_state(job, "oom" if job.out_of_memory() else "failed", words)
            halves = not (job.out_of_memory() or job.device.others)  # a worker that survives alone does it itself
            if state == "oom" and not halves and can_halve(job.attempt):
                job.attempt.ask_again("with half of its micro-batch")
                self.waiting.insert(0, run)
            else:
                self.ended[run_id] = state
                _check_room(job.attempt)

    def _stop_late(self) -> None:
        """Ask runs that take too long to stop, and kill those that do not."""
        now = time.monotonic()
        for run_id, (_, job) in self.active.items():
            if run_id not in self.asked:
                if now - self.begun.setdefault(run_id, now) > self.timeout:
                    self.stop(run_id, "timeout", f"took more than the {self.timeout:g} s that --timeout allows")
            elif now - self.asked[run_id] > PATIENCE_SECONDS:
                job.terminate()
                job.wait()

    def _final_state(self, job: Job, state: str, words: str) -> str:
        """Return the state that a worker committed. For one that died before, commit the requested state or `state`."""
        committed = job.attempt.status()
        if committed is None:
            state, words = job.attempt.asked_to_stop() or (state, words)
            try:
                commit_dead(job.attempt, state, words)
            except (IsADirectoryError, NotADirectoryError) as error:  # it concerns this run only: the others go on
                path = error.filename2 or error.filename
                print(f"{path}: is a folder where a file belongs; `titans-lab doctor --fix` moves it", file=sys.stderr)
                return "lost"
            committed = job.attempt.status() or job.attempt.folder.status()  # of another attempt, which was first
        return committed.state if committed else state

    def launch(self) -> list[Run]:
        """Start as many runs as possible, and return those that have to wait although a slot is free here.

        Other sweeps execute them, or their parents are not done.
        """
        free, to_come = self._free(), {run.run_id for run in self.waiting}
        blocked: list[Run] = []
        for run in list(self.waiting):
            wanted = run.config.speed.devices
            if len(on_distinct_devices(free)) < wanted or len(self.active) == self.most:
                return []  # no later run goes first, or a run on several devices might never find them free
            folder = self.store.run(run.run_id)
            if self.share and self._held(folder):
                self.others.add(run.run_id)
                blocked.append(run)
                continue
            if (state := folder.state()) in FINISHED or self._stopped_elsewhere(folder, state):
                self.skipped[run.run_id] = state
                self.waiting.remove(run)
                continue
            if self.share and (folder.given_up() or not self.share.allows(run.run_id, self.started)):
                self.left.append(run)
                self.waiting.remove(run)
                continue
            if met := self._obstacle(run, to_come):
                if met.passing:
                    blocked.append(run)
                else:
                    self.orphans[run.run_id] = met.why
                    self.waiting.remove(run)
                continue
            folder.create(record_of(run, run.config.data_source()))  # where `titans-lab rm` has moved it meanwhile
            job = self._start(folder, free, wanted)
            if job is None:
                blocked.append(run)
                continue
            self.others.discard(run.run_id)
            self.waiting.remove(run)
            self.started += 1
            self.active[run.run_id] = run, job
        return blocked

    def _obstacle(self, run: Run, to_come: Collection[str]) -> Obstacle | None:
        """Return what keeps a run from beginning: its parent, which may be one of the runs that are to come."""
        parent = run.parent
        if parent and (parent.run_id in self.active or parent.run_id in to_come):
            return Obstacle("its parent comes first", passing=True)
        return obstacle(self.store, parent)

    def _busy(self) -> set[Device]:
        """Return the device slots of active runs."""
        return {slot for _, job in self.active.values() for slot in job.device.members}

    def _held(self, folder: RunFolder) -> bool:
        """Return whether another worker seems to execute a run. With hundreds of workers most runs are held."""
        latest = folder.latest()
        return latest is not None and not self.watch.over(latest.claim)

    def _free(self) -> list[Device]:
        busy = self._busy()
        free = [device for device in self.devices if device not in busy]
        return sorted(free, key=lambda device: device not in self.used)

    def _start(self, folder: RunFolder, free: list[Device], wanted: int) -> Job | None:
        """Start a worker in the first slots that are really free, and take them out of `free`.

        Return None where another sweep executes the run, or holds too many of the slots.
        """
        while len(slots := on_distinct_devices(free)[:wanted]) == wanted:
            try:
                job = self.executor.submit(folder, joined(slots))
            except DeviceBusy as busy:
                self.holders[busy.slot.name] = str(busy)
                free.remove(busy.slot)
                continue
            except AlreadyRunning:
                self.others.add(folder.run_id)
                return None
            self.used.update(slots)
            for slot in slots:
                free.remove(slot)
            return job
        return None

    def _stopped_elsewhere(self, folder: RunFolder, state: str) -> bool:
        """Return whether a user stopped a run while another sweep executed it. The end of that sweep does not count."""
        latest = folder.latest() if folder.run_id in self.others and state in STOPPED else None
        return latest is not None and latest.stopped_for_good()

    def _end_all(self, words: str) -> None:
        """End the workers that are left after an interruption."""
        for _, job in self.active.values():
            if self.share and not job.attempt.asked_to_stop():
                with suppress(OSError):  # a store that cannot be written does not get the reason, nor the commit
                    job.attempt.ask_to_stop("cancelled", f"{words}; another worker continues the run", resumable=True)
            job.terminate()
        for _, job in self.active.values():
            job.wait()
        for run_id, (_, job) in self.active.items():
            try:
                self.ended[run_id] = self._final_state(job, "cancelled", words)
            except OSError:  # the store cannot be written; a run without a commit counts as lost
                self.ended[run_id] = "lost"
        self.active.clear()


def _check_room(attempt: Attempt) -> None:
    """Raise OSError where a run failed because the store cannot be written: the next run would fail, too."""
    status = attempt.status()
    error = (status.error if status else None) or ""
    for code in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {code}]" in error.strip().rpartition("\n")[2]:
            raise OSError(code, os.strerror(code))
