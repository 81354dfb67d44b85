"""Sweep a study by workers on a cluster: submit them, follow the runs in the store, and replace workers that end early.

The store says which runs are left. The engine says only whether workers are left, and why one ended. So the coordinator
may end at any time: the workers go on, and the same command follows them again.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titans_lab.environment import LIBRARIES, job_facts, library_version
from titans_lab.errors import UserError
from titans_lab.executors.engine import BLAMELESS, ENDS, Engine, Hand, WorkOrder
from titans_lab.launch import ask_again
from titans_lab.quantities import plural
from titans_lab.run.run import Run
from titans_lab.source_digest import changed_files, code_of_files
from titans_lab.store.folder import RunFolder
from titans_lab.store.parents import hindered
from titans_lab.store.status import BROKEN, FINISHED
from titans_lab.store.store import Store, writing
from titans_lab.store.submissions import SubmissionFolder, new_name

LEAST_PAUSE, MOST_PAUSE = 1.0, 30.0  # seconds between two looks at the store and the queue
REST = 20.0  # how many times as long as a look the pause after it is at least
MOST_NAMED = 3  # files or logs that a message names
GRACE_SECONDS = 60.0  # how long a submission that nobody has seen in the queue may still be on its way


@dataclass(frozen=True)
class Work:
    """What the workers of a study do.

    Attributes:
        study: The name of the study.
        path: The study file.
        runs: All runs of the study.
        store: The store, which the workers share.
        overrides: The overrides of the study.
        options: Further options of `titans-lab work`.
    """

    study: str
    path: Path
    runs: Sequence[Run]
    store: Store
    overrides: Sequence[str] = ()
    options: Sequence[str] = ()

    def order(self, name: str, workers: int) -> WorkOrder:
        """Return the order for so many workers, as the submission `name`."""
        folder = self.store.submission(name).path.absolute()
        # -P: a file in the working directory must not shadow a module of this package
        command = [sys.executable, "-P", "-m", "titans_lab", "work", str(self.path.absolute()), *self.overrides]
        command += ["--store", str(self.store.root.absolute()), "--submission", name, *self.options]
        return WorkOrder(name, command, folder, Path.cwd(), workers)


def submit(work: Work, engine: Engine, workers: int) -> SubmissionFolder:
    """Submit workers, with a record in the store that is written before them.

    A coordinator that is killed in between leaves a record without jobs, whose workers are found by its name.
    """
    order = work.order(new_name(), workers)
    folder = work.store.submission(order.name)
    record = {
        "name": order.name,
        "study": work.study,
        "path": str(work.path.absolute()),
        "engine": engine.name,
        "user": getpass.getuser(),
        "submitted": datetime.now(UTC).isoformat(),
        "jobs": [],
        "workers": workers,
        "runs": [run.run_id for run in work.runs],
        "code": code_of_files(),
        "libraries": _libraries(),
        "command": list(order.command),
    }
    with writing(work.store):
        folder.save(record)
    try:
        jobs = engine.submit(order)
    except UserError:
        folder.note_ends({}, over=True)
        raise
    with writing(work.store):
        folder.save(record | {"jobs": jobs})
    return folder


def check_unchanged(store: Store, name: str, runs: Sequence[Run]) -> None:
    """Raise UserError where the study, the code or its libraries are not what a submission had, with what changed."""
    record = store.submission(name).record()
    if record is None:
        raise UserError(f"--submission {name}: {store.root} has no such submission; leave the option out")
    differ = [*_changed_runs(record["runs"], runs), *_changed_code(record)]
    if differ:
        raise UserError(f"submission {name}: {'; '.join(differ)}; cancel it, and sweep the study again")


def _changed_runs(before: Sequence[str], runs: Sequence[Run]) -> Iterator[str]:
    ids = {run.run_id for run in runs}
    more, fewer = len(ids.difference(before)), len(set(before) - ids)
    if more or fewer:
        yield f"the study or its data changed since: {plural(more, 'run is', 'runs are')} new, {fewer} gone"


def _changed_code(record: Mapping[str, Any]) -> Iterator[str]:
    if files := changed_files(record["code"]):
        more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
        yield f"the code changed since: {', '.join(files[:MOST_NAMED])}{more}"
    now = _libraries()
    for library, version in record["libraries"].items():
        if now.get(library) != version:
            yield f"{library} was {version} and is {now.get(library, 'not installed')}"


def _libraries() -> dict[str, str]:
    return {name: version for name in LIBRARIES if (version := library_version(name))}


def living(store: Store, study: str, engine: str | None = None) -> list[SubmissionFolder]:
    """Return the submissions of a study, to one engine or any, whose workers are not known to have ended."""
    found = []
    for folder in store.submissions():
        if folder.over():
            continue
        record = folder.record()
        if record and record["study"] == study and engine in (None, record["engine"]):
            found.append(folder)
    return found


def look(folder: SubmissionFolder, engine: Engine, keep: bool = True) -> dict[str, Hand] | None:
    """Return the workers of a submission by job.

    Args:
        folder: The submission.
        engine: Its engine.
        keep: Whether to record the workers that ended, for the time when the engine has forgotten them.

    Returns:
        None where the engine cannot be asked.
    """
    record = folder.record()
    known = {job: Hand("ended", reason) for job, reason in folder.ends().items()}
    if record is None or folder.over():
        return known
    found = engine.look(folder.name, record["jobs"])
    if found is None:
        return None
    hands = {**{job: hand for job, hand in known.items() if job not in found}, **found}
    begun = datetime.fromisoformat(record["submitted"])
    settled = (hands and record["jobs"]) or (datetime.now(UTC) - begun).total_seconds() > GRACE_SECONDS
    over = bool(settled) and all(hand.state == "ended" for hand in hands.values())
    ends = {job: hand.reason for job, hand in hands.items() if hand.state == "ended"}
    if keep:
        folder.note_ends(ends, over)
    return hands


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
        words = "cannot be asked from this machine" if hands is None else _summary(hands)
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


def explain(store: Store, runs: Sequence[Run], name: str, hands: Mapping[str, Hand]) -> None:
    """Record for the runs that a worker left without a result why the worker ended, as the engine says."""
    for run in runs:
        folder = store.run(run.run_id)
        latest = folder.latest()
        if latest is None or latest.explained() or folder.state() in FINISHED:
            continue
        env, status = latest.env(), latest.status()
        hand = hands.get(env.get("job", "")) if env.get("submission") == name else None
        if hand is None or (status and status.state not in ("cancelled", "oom")):
            continue
        if hand.state == "ended" and hand.reason not in ("", "finished", "failed"):
            latest.explain(f"{env['job']} {ENDS[hand.reason]}{f' ({hand.place})' if hand.place else ''}")
        elif hand.state == "waiting" and status is None and not latest.claim.seems_alive():
            latest.explain(f"{env['job']} was put back into the queue: preempted, or its node failed")


Tell = Callable[[str], None]


@dataclass
class Dispatch:
    """A sweep by workers on a cluster, as its coordinator sees it.

    Attributes:
        work: What the workers do.
        engine: The engine that starts them.
        workers: The most workers at a time.
        fail_fast: Whether the first run that fails ends the sweep.
        submissions: The submissions whose workers may live, oldest first.
        states: The last known state of each run.
    """

    work: Work
    engine: Engine
    workers: int
    fail_fast: bool = False
    submissions: list[SubmissionFolder] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def begin(self) -> bool:
        """Find the workers of an earlier command, or else submit new ones. Return whether workers were found."""
        self.submissions = living(self.work.store, self.work.study, self.engine.name)
        if not self.engine.detaches:
            for each in self.submissions:
                each.note_ends({}, over=True)  # its workers ended with its coordinator
            self.submissions = []
        found = [hands for each in self.submissions if (hands := look(each, self.engine)) is not None]
        if self.submissions and not found:
            raise UserError(
                f"{self.engine.name} does not answer, and may still have workers of {self.work.study}; repeat the "
                "command later"
            )
        if not all(each.over() for each in self.submissions):
            return True
        ask_again(self.work.runs, self.work.store, f"titans-lab sweep --on {self.engine.name}")
        if self._left():
            self._submit()
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
            changed = [run for run in self.work.runs if self.states.get(run.run_id) != before.get(run.run_id)]
            for run in changed if before else ():
                tell(f"{self.states[run.run_id]:9} {run.label}  {self._figures(run)}".rstrip())
            if hands is not None and (now := _summary(hands)) != words:
                words = now
                tell(f"workers   {words}")
            if self.fail_fast and any(state in BROKEN for state in self.states.values()):
                self.cancel()
                return "a run failed, and --fail-fast was given"
            if not (left := self._left()):
                return ""
            if hands is not None and all(each.over() for each in self.submissions):
                if why := self._stuck(hands):
                    return why
                self._submit()
                tell(f"workers   more of them, for {plural(len(left), 'run')} that the others left")
            pause = LEAST_PAUSE if changed else min(1.5 * pause, MOST_PAUSE)
            time.sleep(max(pause, REST * looked))

    def cancel(self) -> None:
        """End the workers."""
        for each in self.submissions:
            record = each.record()
            if record and not each.over():
                self.engine.cancel(each.name, record["jobs"])

    def _submit(self) -> None:
        self.submissions.append(submit(self.work, self.engine, min(self.workers, len(self._left()))))

    def _look(self) -> dict[str, Hand] | None:
        """Look at the runs without a result and at the workers, and return the workers, or None without an answer."""
        found: dict[str, Hand] = {}
        for each in self.submissions:
            hands = look(each, self.engine)
            if hands is None:
                return None
            explain(self.work.store, self.work.runs, each.name, hands)
            found |= hands
        for run in self.work.runs:
            if self.states.get(run.run_id) not in FINISHED:
                self.states[run.run_id] = self._folder(run).state()
        return found

    def _left(self) -> list[Run]:
        """Return the runs that a worker may still execute."""
        left = [
            run
            for run in self.work.runs
            if self.states.get(run.run_id) not in FINISHED
            and self._folder(run).state() not in FINISHED
            and not self._folder(run).given_up()
        ]
        orphans = hindered(left, self.work.store, {run.run_id for run in left})
        return [run for run in left if run.run_id not in orphans]

    def orphans(self) -> dict[str, str]:
        """Return the runs that cannot begin because their parents have no weights, by id: the reason."""
        missing = [run for run in self.work.runs if self._folder(run).state() not in FINISHED]
        return hindered(missing, self.work.store, {run.run_id for run in self._left()})

    def _stuck(self, hands: Mapping[str, Hand]) -> str:
        """Return why more workers would not help, or "" where the last submission made progress or is not to blame."""
        last = self.submissions[-1]
        ends = {job: reason for job, reason in last.ends().items() if reason not in BLAMELESS}
        progressed = any(self._progressed(self._folder(run), last.name) for run in self.work.runs)
        if progressed or len(ends) < len(last.ends()):
            return ""
        how = ", ".join(f"{count} {reason or 'ended'}" for reason, count in Counter(ends.values()).most_common())
        return f"the workers ended without progress ({how or 'none was seen'}){_last_words(last)}"

    def _progressed(self, folder: RunFolder, name: str) -> bool:
        """Return whether an attempt of a submission has a result, or was stopped with a checkpoint for others."""
        latest = folder.latest()
        status = latest.status() if latest else None
        if latest is None or status is None or latest.env().get("submission") != name:
            return False
        return status.state in FINISHED or (status.state == "cancelled" and not latest.stopped_for_good())

    def _folder(self, run: Run) -> RunFolder:
        return self.work.store.run(run.run_id)

    def _figures(self, run: Run) -> str:
        folder = self._folder(run)
        status, latest = folder.status(), folder.latest()
        if status and "loss" in status.summary:
            return f"loss {status.summary['loss']:.4f}"
        return str(latest.env().get("job", "")) if latest else ""


def _last_words(folder: SubmissionFolder) -> str:
    """Return the last line of a worker's log, and where it stands."""
    for path in folder.logs():
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            return f":\n  {lines[-1]}\n  see {path}"
    return f"; see {folder.path}"


def _summary(hands: Mapping[str, Hand]) -> str:
    """Return how many workers are in each state, and why they wait."""
    counts = Counter(hand.reason if hand.state == "ended" and hand.reason else hand.state for hand in hands.values())
    reasons = {hand.reason for hand in hands.values() if hand.state == "waiting" and hand.reason not in ("", "None")}
    why = f" ({', '.join(sorted(reasons))})" if reasons else ""
    return (
        ", ".join(f"{number} {state}{why * (state == 'waiting')}" for state, number in sorted(counts.items()))
        or "none yet"
    )


def job_words() -> str:
    """Return the job that this process is, in words."""
    job = job_facts().get("job")
    return f"job {job}" if job else "worker"
