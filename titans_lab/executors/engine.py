"""The contract of an engine that starts workers on other machines. A worker is a `titans-lab work` process.

The store is the truth about runs. What an engine says about its workers is a hint: it explains why a run was lost, and
says whether workers are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from titans_lab.environment import JOB_FACTS

#: The environment variables that tell a worker, and the records of its attempts, which job it is.
SUBMISSION, JOB = JOB_FACTS

#: The ends of a worker for which nothing that the user wrote is the reason, so that starting another one is right.
BLAMELESS = frozenset({"preempted", "node failure", "time limit"})


@dataclass(frozen=True)
class WorkOrder:
    """The workers to start.

    Attributes:
        name: The name of the submission. No other submission has it.
        command: The command line of each worker, without its deadline.
        folder: The folder of the workers' logs, which exists.
        directory: The working directory of each worker.
        workers: The number of workers.
    """

    name: str
    command: Sequence[str]
    folder: Path
    directory: Path
    workers: int


@dataclass(frozen=True)
class Hand:
    """What an engine says about a worker.

    Attributes:
        state: Whether it waits for resources, runs, or has ended.
        reason: Why it waits; how it ended: one of `ENDS`, or "" where that is not known.
        place: The machine, or "".
    """

    state: Literal["waiting", "running", "ended"]
    reason: str = ""
    place: str = ""


#: The ends of a worker, and the words about a run that it left without a commit.
ENDS = {
    "finished": "ended",
    "failed": "ended with an error",
    "cancelled": "was cancelled",
    "time limit": "reached its time limit",
    "out of memory": "ran out of memory",
    "preempted": "was preempted",
    "node failure": "ended because its node failed",
}


class Engine(Protocol):
    """Starts workers, and says how they are."""

    @property
    def name(self) -> str:
        """Return the name of the engine, as `--on` has it."""

    @property
    def detaches(self) -> bool:
        """Return whether workers outlive the process that submitted them."""

    def request(self, order: WorkOrder) -> str:
        """Return what the engine would be asked, exactly."""

    def submit(self, order: WorkOrder) -> list[str]:
        """Start workers, or put them into the engine's queue, and return the ids of their jobs.

        Raises:
            UserError: The engine refuses, in its own words.
        """

    def look(self, name: str, jobs: Sequence[str]) -> Mapping[str, Hand] | None:
        """Return the workers of a submission, by the name that their attempts record as their job.

        Args:
            name: The name of the submission.
            jobs: The ids that `submit` returned.

        Returns:
            None where the engine cannot be asked. A worker that it has forgotten is left out.
        """

    def cancel(self, name: str, jobs: Sequence[str]) -> None:
        """End the workers of a submission, those that run and those that wait."""
