"""Train the runs of a search by workers on a cluster, which take them from the store.

A worker reads the trials that are running and claims their runs (`titans_lab.search.worker`). This process sees in the
store which runs train and how they ended, and asks one to stop by a file in its folder. It tells a worker nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from titans_lab.crew import Crew, summary_of
from titans_lab.launch import ask_again
from titans_lab.quantities import plural
from titans_lab.run.run import Run
from titans_lab.spending import Spent
from titans_lab.store.folder import Attempt
from titans_lab.store.status import BROKEN, FINISHED
from titans_lab.study.terms import Budget

LEAST_PAUSE, MOST_PAUSE = 0.5, 3.0  # seconds between two looks at the runs
QUEUE_SECONDS = 5.0  # between two looks at the queue
REST = 10.0  # how many times as long as a look the pause after it is at least

Tell = Callable[[str], None]


@dataclass
class Remote:
    """The runs that workers on a cluster train for a search.

    Attributes:
        crew: The workers.
        waiting: Runs that no worker trains now, in order.
        places: The most runs at a time, and so the most workers that are of use.
        tell: A function that gets a line about the workers when something has changed.
        budget: The time after which the search gives no more runs.
        spent: The part of the budget that is spent.
        fail_fast: Whether the first run that fails ends the search.
        active: The attempt at each run that a worker trains.
        ended: Final state of each run that has ended.
        asked: The active runs that were asked to stop, and when.
        stuck: The reason why workers are of no use, or "".
    """

    crew: Crew
    waiting: list[Run]
    places: int
    tell: Tell
    budget: Budget = field(default_factory=Budget)
    spent: Spent = field(default_factory=Spent)
    fail_fast: bool = False
    active: dict[str, Attempt] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    stuck: str = ""
    _handed: dict[str, Run] = field(default_factory=dict)
    _said: str = ""
    _queue_seen: float = 0.0

    def run(self, look: Callable[[Remote], bool | None]) -> None:
        """Follow the runs until none is left. See `Runner.run`."""
        pause = LEAST_PAUSE
        while True:
            begun, before = time.monotonic(), (len(self.ended), len(self.active))
            self._look()
            more = look(self)
            self._look()  # runs that were added may have an end already
            over = self.spent.by(len(self.active), time.monotonic()).over(self.budget)
            if self.halted or not (self.active or (self.waiting and not over) or more):
                return
            if self.waiting and not over:
                self._keep_workers()
            changed = before != (len(self.ended), len(self.active))
            pause = LEAST_PAUSE if changed else min(1.5 * pause, MOST_PAUSE)
            time.sleep(max(pause, REST * (time.monotonic() - begun)))

    def attempt(self, run_id: str) -> Attempt:
        """Return the attempt at an active run."""
        return self.active[run_id]

    def stop(self, run_id: str, state: str, why: str) -> None:
        """Ask an active run to end in `state`, one of `STOPPED`. Its worker finds the request in the run's folder."""
        if run_id in self.active:
            self.active[run_id].ask_to_stop(state, why)
            self.asked[run_id] = time.monotonic()

    @property
    def failed(self) -> list[str]:
        """Return the ids of the runs that ended without a result."""
        return [run_id for run_id, state in self.ended.items() if state not in FINISHED]

    @property
    def why(self) -> str:
        """Return the reason why the search ends early, or ""."""
        failed = self.fail_fast and any(state in BROKEN for state in self.ended.values())
        return "a run failed" if failed else self.stuck

    @property
    def halted(self) -> bool:
        """Return whether the search ends early."""
        return bool(self.why)

    def _look(self) -> None:
        """Find out which runs train and which have ended."""
        runs = [*self.waiting, *(self._handed[run_id] for run_id in self.active)]
        active, self.active, self.waiting = self.active, {}, []
        for run in runs:
            self._place(run)
        for run_id in active.keys() - self.active.keys():
            self.asked.pop(run_id, None)

    def _place(self, run: Run) -> None:
        """Take in the state of a run. A run that is new here and had failed may be tried again."""
        folder = self.crew.work.store.run(run.run_id)
        if run.run_id not in self._handed:
            self._handed[run.run_id] = run
            ask_again([run], self.crew.work.store, "titans-lab tune")
        state, latest = folder.state(), folder.latest()
        if state == "running" and latest:
            self.active[run.run_id] = latest
        elif state in FINISHED or folder.given_up() or run.run_id in self.asked:
            self.ended[run.run_id] = state
        else:
            self.waiting.append(run)

    def _keep_workers(self) -> None:
        """Look at the workers, and submit new ones where none is left."""
        if time.monotonic() - self._queue_seen < QUEUE_SECONDS:
            return
        runs = list(self._handed.values())
        hands, self._queue_seen = self.crew.look(runs), time.monotonic()
        if hands is None:
            return
        if hands and (words := summary_of(hands)) != self._said:
            self._said = words
            self.tell(f"workers   {words}")
        if self.crew.over:
            self.stuck = self.crew.stuck(runs)
            if not self.stuck:
                self.crew.submit(self.places)
                self.tell(f"workers   submitted {plural(min(self.places, self.crew.most), 'worker')}")
