"""The workers of a study on a cluster: order them, find them again, and learn how they are.

The store says which runs are left. The engine says only whether workers are left, and why one ended. So the process
that ordered them may end at any time, and another one finds them by the records of their submissions.
"""

from __future__ import annotations

import getpass
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titans_lab.environment import LIBRARIES, library_version
from titans_lab.errors import UserError
from titans_lab.executors.engine import BLAMELESS, ENDS, Engine, Hand, WorkOrder
from titans_lab.quantities import plural
from titans_lab.run.run import Run
from titans_lab.source_digest import changed_files, code_of_files
from titans_lab.store.folder import RunFolder
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store, writing
from titans_lab.store.submissions import SubmissionFolder, new_name

MOST_NAMED = 3  # files or logs that a message names
GRACE_SECONDS = 60.0  # how long a submission that nobody has seen in the queue may still be on its way


@dataclass(frozen=True)
class Work:
    """What the workers of a study do.

    Attributes:
        study: The name of the study.
        path: The study file.
        ids: What a worker must find in the study file: the ids of all runs, or the names of its searches.
        store: The store, which the workers share.
        overrides: The overrides of the study.
        options: Further options of `titans-lab work`.
    """

    study: str
    path: Path
    ids: Sequence[str]
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
        "runs": list(work.ids),
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


def check_unchanged(store: Store, name: str, ids: Sequence[str]) -> None:
    """Raise UserError where the study, the code or its libraries are not what a submission had, with what changed.

    Args:
        store: The store.
        name: The name of the submission.
        ids: See `Work.ids`.
    """
    record = store.submission(name).record()
    if record is None:
        raise UserError(f"--submission {name}: {store.root} has no such submission; leave the option out")
    differ = [*_changed_ids(record["runs"], ids), *_changed_code(record)]
    if differ:
        raise UserError(f"submission {name}: {'; '.join(differ)}; cancel it, and repeat the command that submitted it")


def _changed_ids(before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    more, fewer = len(set(now).difference(before)), len(set(before).difference(now))
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


@dataclass
class Crew:
    """The workers of a study, over one or several submissions.

    Attributes:
        work: What the workers do.
        engine: The engine that starts them.
        most: The most workers at a time.
        submissions: The submissions whose workers may live, oldest first.
        ordered: The number of submissions that this process has made.
    """

    work: Work
    engine: Engine
    most: int
    submissions: list[SubmissionFolder] = field(default_factory=list)
    ordered: int = 0

    def find(self) -> bool:
        """Find the workers of an earlier command, and return whether some of them may live."""
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
        return not self.over

    @property
    def over(self) -> bool:
        """Return whether no worker is left, as far as the last look has shown."""
        return all(each.over() for each in self.submissions)

    def look(self, runs: Sequence[Run]) -> dict[str, Hand] | None:
        """Look at the workers, and record why those ended that left some of `runs` without a result.

        Returns:
            The workers by job, or None where the engine does not answer.
        """
        found: dict[str, Hand] = {}
        for each in self.submissions:
            hands = look(each, self.engine)
            if hands is None:
                return None
            explain(self.work.store, runs, each.name, hands)
            found |= hands
        return found

    def submit(self, wanted: int) -> None:
        """Submit workers: one for each of the `wanted` runs, as far as there may be so many."""
        self.submissions.append(submit(self.work, self.engine, min(self.most, wanted)))
        self.ordered += 1

    def cancel(self) -> None:
        """End the workers."""
        for each in self.submissions:
            record = each.record()
            if record and not each.over():
                self.engine.cancel(each.name, record["jobs"])

    def stuck(self, runs: Sequence[Run]) -> str:
        """Return why more workers would not help, or "" where the last ones made progress or are not to blame.

        Workers that an earlier process ordered may have progressed with runs that this one has not asked for.
        """
        if not self.ordered:
            return ""
        last = self.submissions[-1]
        ends = {job: reason for job, reason in last.ends().items() if reason not in BLAMELESS}
        progressed = any(_progressed(self.work.store.run(run.run_id), last.name) for run in runs)
        if progressed or len(ends) < len(last.ends()):
            return ""
        how = ", ".join(f"{count} {reason or 'ended'}" for reason, count in Counter(ends.values()).most_common())
        return f"the workers ended without progress ({how or 'none was seen'}){_last_words(last)}"


def _progressed(folder: RunFolder, name: str) -> bool:
    """Return whether an attempt of a submission has a result, or was stopped with a checkpoint for others."""
    latest = folder.latest()
    status = latest.status() if latest else None
    if latest is None or status is None or latest.env().get("submission") != name:
        return False
    return status.state in FINISHED or (status.state == "cancelled" and not latest.stopped_for_good())


def _last_words(folder: SubmissionFolder) -> str:
    """Return the last line of a worker's log, and where it stands."""
    for path in folder.logs():
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            return f":\n  {lines[-1]}\n  see {path}"
    return f"; see {folder.path}"


def summary_of(hands: Mapping[str, Hand]) -> str:
    """Return how many workers are in each state, and why they wait."""
    counts = Counter(hand.reason if hand.state == "ended" and hand.reason else hand.state for hand in hands.values())
    reasons = {hand.reason for hand in hands.values() if hand.state == "waiting" and hand.reason not in ("", "None")}
    why = f" ({', '.join(sorted(reasons))})" if reasons else ""
    return (
        ", ".join(f"{number} {state}{why * (state == 'waiting')}" for state, number in sorted(counts.items()))
        or "none yet"
    )
