"""Decide whether a run can begin: a run with a parent needs the weights that the parent ended with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from titans_lab.errors import UserError
from titans_lab.run.origin import Parent
from titans_lab.run.run import Run, parents_first
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store
from titans_lab.store.weights import check_state, check_weights

SHORT_ID = 8  # digits of an id in a message


@dataclass(frozen=True)
class Obstacle:
    """What keeps a run from beginning.

    Attributes:
        why: The reason, with the remedy.
        passing: Whether it passes by itself, because the parent is running.
    """

    why: str
    passing: bool = False


def obstacle(store: Store, parent: Parent | None) -> Obstacle | None:
    """Return what keeps a run with this parent from beginning, or None where it can begin."""
    if parent is None:
        return None
    folder, who = store.run(parent.run_id), f"its parent {parent.run_id[:SHORT_ID]}"
    state = folder.state()
    if state == "done":
        try:
            check_state(folder) if parent.goes_on else check_weights(folder)
        except UserError as error:
            return Obstacle(str(error))
        return None
    if state == "running":
        return Obstacle(f"{who} is running", passing=True)
    if state == "diverged":
        return Obstacle(f"{who} diverged; name another one, or mend it")
    if parent.study:
        return Obstacle(f"{who} is {state}; to train it: titans-lab sweep {parent.study}")
    remedy = "sweep its study" if folder.record_path.exists() else "it is not in this store; import or train it"
    return Obstacle(f"{who} is {state}; {remedy}")


def hindered(runs: Sequence[Run], store: Store, tried: Collection[str]) -> dict[str, str]:
    """Return the reason for each run, by id, that cannot begin even after others.

    Args:
        runs: Runs without a result.
        store: The store.
        tried: The ids of the runs that are going to be tried, so that their children may begin after them.
    """
    found: dict[str, str] = {}
    for run in parents_first(runs):
        above = run.parent.run_id if run.parent else ""
        if above in found:
            found[run.run_id] = f"its parent {above[:SHORT_ID]} cannot begin: {found[above]}"
        elif above not in tried and (met := obstacle(store, run.parent)) and not met.passing:
            found[run.run_id] = met.why
    return {run_id: why for run_id, why in found.items() if store.run(run_id).state() not in FINISHED}
