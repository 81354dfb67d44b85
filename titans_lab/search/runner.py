"""What trains the runs of a search: a `Sweep` on this machine, or workers on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from titans_lab.run.run import Run
from titans_lab.spending import Spent
from titans_lab.store.folder import Attempt
from titans_lab.study.terms import Budget


class Runner(Protocol):
    """Trains runs, which a search adds while others train.

    Attributes:
        waiting: The runs that have not begun, in order.
        spent: The part of the budget that is spent.
        budget: The budget.
        ended: The final state of each run that has ended.
    """

    waiting: list[Run]
    spent: Spent
    budget: Budget
    ended: dict[str, str]

    @property
    def active(self) -> Mapping[str, Any]:
        """Return the runs that train, by id."""

    @property
    def asked(self) -> Mapping[str, Any]:
        """Return the active runs that were asked to stop, by id."""

    @property
    def failed(self) -> Sequence[str]:
        """Return the ids of the runs that ended without a result."""

    @property
    def halted(self) -> bool:
        """Return whether no more runs are started because of a failure."""

    @property
    def why(self) -> str:
        """Return the reason why no more runs are started, or "" where they are."""

    def attempt(self, run_id: str) -> Attempt:
        """Return the attempt at an active run."""

    def stop(self, run_id: str, state: str, why: str) -> None:
        """Ask an active run to end in `state`, one of `STOPPED`."""

    def run(self, look: Callable[[Any], bool | None]) -> None:
        """Train all waiting runs. `look` is called after each turn: while it returns True, it may add runs."""
