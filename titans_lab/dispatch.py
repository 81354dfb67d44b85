"""Sweep a study by workers on a cluster: submit them, follow the runs in the store, and replace workers that end early.

The coordinator may end at any time: the workers go on, and the same command follows them again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from titans_lab.crew import Crew, explain, living, look, summary_of
from titans_lab.environment import job_facts
from titans_lab.executors.engine import Engine, Hand
from titans_lab.launch import ask_again
from titans_lab.quantities import plural
from titans_lab.run.run import Run
from titans_lab.store.folder import RunFolder
from titans_lab.store.parents import hindered
from titans_lab.store.status import BROKEN, FINISHED
from titans_lab.store.store import Store

LEAST_PAUSE, MOST_PAUSE = 1.0, 30.0  # seconds between two looks at the store and the queue
REST = 20.0  # how many times as long as a look the pause after it is at least


def standing(store: Store, study: str, runs: Sequence[Run], engine_of: Callable[[str], Engine]) -> list[str]:
    """Return a line about each submission of a study whose workers may live, and record why others ended.

    A store that cannot be written is only read.
    """
    lines, keep = [], os.access(store.root, os.W_OK)
    for folder in living(store, study):
        record = folder.record()
        assert record is not None
        hands = look(folder, engine_of(record["engine"]), keep)
        if hands is not None and keep:
            explain(store, runs, folder.name, hands)
        words = "cannot be asked from this machine" if hands is None else summary_of(hands)
        lines.append(f"{record['engine']} {', '.join(record['jobs'])} ({folder.name}): workers: {words}")
    return lines


def cancel(store: Store, study: str, engine_of: Callable[[str], Engine]) -> list[str]:
    """End the workers of a study on every cluster, and return the names of their submissions.

    Workers that live as long as their coordinator are left to it: it ends when no run is left.

    Raises:
        UserError: An engine refuses, or cannot be asked from this machine.
    """
    found = []
    for folder in living(store, study):
        record = folder.record()
        assert record is not None
        engine = engine_of(record["engine"])
        if engine.detaches:
            engine.cancel(folder.name, record["jobs"])
            found.append(folder.name)
    return found


Tell = Callable[[str], None]


@dataclass
class Dispatch:
    """A sweep by workers on a cluster, as its coordinator sees it.

    Attributes:
        crew: The workers.
        runs: All runs of the study.
        fail_fast: Whether the first run that fails ends the sweep.
        states: The last known state of each run.
    """

    crew: Crew
    runs: Sequence[Run]
    fail_fast: bool = False
    states: dict[str, str] = field(default_factory=dict)

    def begin(self) -> bool:
        """Find the workers of an earlier command, or else submit new ones. Return whether workers were found."""
        if self.crew.find():
            return True
        ask_again(self.runs, self.crew.work.store, f"titans-lab sweep --on {self.crew.engine.name}")
        if left := self._left():
            self.crew.submit(len(left))
        return False

    def follow(self, tell: Tell) -> str:
        """Follow the runs until each has a result, has failed for good, or no worker makes progress.

        Args:
            tell: A function that gets a line about each change.

        Returns:
            The reason why runs are left, or "".
        """
        words, pause = "", LEAST_PAUSE
        while True:
            before, begun = dict(self.states), time.monotonic()
            hands = self._look()
            looked = time.monotonic() - begun
            changed = [run for run in self.runs if self.states.get(run.run_id) != before.get(run.run_id)]
            for run in changed if before else ():
                tell(f"{self.states[run.run_id]:9} {run.label}  {self._figures(run)}".rstrip())
            if hands is not None and (now := summary_of(hands)) != words:
                words = now
                tell(f"workers   {words}")
            if self.fail_fast and any(state in BROKEN for state in self.states.values()):
                self.crew.cancel()
                return "a run failed, and --fail-fast was given"
            if not (left := self._left()):
                return ""
            if hands is not None and self.crew.over:
                if why := self.crew.stuck(self.runs):
                    return why
                self.crew.submit(len(left))
                tell(f"workers   more of them, for {plural(len(left), 'run')} that the others left")
            pause = LEAST_PAUSE if changed else min(1.5 * pause, MOST_PAUSE)
            time.sleep(max(pause, REST * looked))

    def _look(self) -> dict[str, Hand] | None:
        """Look at the runs without a result and at the workers, and return the workers, or None without an answer."""
        hands = self.crew.look(self.runs)
        for run in self.runs:
            if self.states.get(run.run_id) not in FINISHED:
                self.states[run.run_id] = self._folder(run).state()
        return hands

    def _left(self) -> list[Run]:
        """Return the runs that a worker may still execute."""
        left = [
            run
            for run in self.runs
            if self.states.get(run.run_id) not in FINISHED
            and self._folder(run).state() not in FINISHED
            and not self._folder(run).given_up()
        ]
        orphans = hindered(left, self.crew.work.store, {run.run_id for run in left})
        return [run for run in left if run.run_id not in orphans]

    def orphans(self) -> dict[str, str]:
        """Return the runs that cannot begin because their parents have no weights, by id: the reason."""
        missing = [run for run in self.runs if self._folder(run).state() not in FINISHED]
        return hindered(missing, self.crew.work.store, {run.run_id for run in self._left()})

    def _folder(self, run: Run) -> RunFolder:
        return self.crew.work.store.run(run.run_id)

    def _figures(self, run: Run) -> str:
        folder = self._folder(run)
        status, latest = folder.status(), folder.latest()
        if status and "loss" in status.summary:
            return f"loss {status.summary['loss']:.4f}"
        return str(latest.env().get("job", "")) if latest else ""


def job_words() -> str:
    """Return the job that this process is, in words."""
    job = job_facts().get("job")
    return f"job {job}" if job else "worker"
