"""Train finished runs again and compare their numbers, because a checksum does not show that a record is true."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titans_lab.report.evidence import listed
from titans_lab.store.status import FINISHED
from titans_lab.store.succession import facts_of_numbers

if TYPE_CHECKING:
    from titans_lab.run.run import Run
    from titans_lab.store.query import Snapshot
    from titans_lab.store.store import Store

#: The compared columns of a run, and of each of its logged lines.
FINAL = ("state", "steps", "tokens", "loss", "score", "train_loss", "diverged_step")
LOGGED = ("loss", "valid_loss", "valid_score")
TOLERANCE = 0.02  # relative tolerance of loss and score where runs are not deterministic
MOST_LISTED = 5  # the most differences of a run in the output


@dataclass(frozen=True)
class Reproduced:
    """The comparison of a run with its repetition.

    Attributes:
        run_id: The run's id.
        label: The values in which it differs from the study's other runs.
        exact: Whether the numbers must be equal to the last bit.
        why: The reason why they need not be equal, such as a different environment. Empty if they must be.
        compared: The number of values that were compared.
        differences: The values that differ, a line each. Empty: the run is reproduced.
    """

    run_id: str
    label: str
    exact: bool
    why: str
    compared: int
    differences: tuple[str, ...]


def sample(runs: Sequence[Run], snapshot: Snapshot, count: int) -> list[Run]:
    """Return `count` finished runs drawn at random, so that nobody can predict which runs are checked."""
    states = ", ".join(f"'{state}'" for state in sorted(FINISHED))
    sql = f"select run_id from runs where run_id in ({listed(run.run_id for run in runs)}) and state in ({states})"
    finished = set(snapshot.ask(sql).table.column("run_id").to_pylist())
    known = [run for run in runs if run.run_id in finished]
    return random.SystemRandom().sample(known, min(count, len(known)))


def copy_parents(runs: Sequence[Run], recorded: Store, again: Store) -> None:
    """Copy the runs that some runs begin with into another store, where these are trained again."""
    for run_id in {run.parent.run_id for run in runs if run.parent}:
        if recorded.run(run_id).path.is_dir():
            shutil.copytree(recorded.run(run_id).path, again.run(run_id).path, dirs_exist_ok=True)


def compare(run: Run, recorded: Snapshot, again: Snapshot) -> Reproduced:
    """Compare the records of a run in two stores.

    Every number must be equal if the run is deterministic. Otherwise loss and score must be close.
    """
    query = f"select * from runs where run_id = '{run.run_id}'"
    (old,), (new,) = (snapshot.ask(query).table.to_pylist() for snapshot in (recorded, again))
    why = _inexact(old, new)
    if why:
        figures = {name: (old[name], new[name]) for name in ("state", "loss", "score")}
    else:
        figures = {name: (old[name], new[name]) for name in FINAL}
        lines, others = (_logged(run, snapshot) for snapshot in (recorded, again))
        figures |= {key: (lines.get(key), others.get(key)) for key in {**lines, **others}}
    wrong = [f"{name}: {_change(*pair)}" for name, pair in figures.items() if not _same(*pair, exact=not why)]
    more = [f"and {len(wrong) - MOST_LISTED} more numbers"] if len(wrong) > MOST_LISTED else []
    if wrong and old["commit"] != new["commit"]:
        more.append(f"the code differs, too: commit {_change(old['commit'], new['commit'])}")
    return Reproduced(run.run_id, run.label, not why, why, len(figures), (*wrong[:MOST_LISTED], *more))


def _change(recorded: Any, now: Any) -> str:
    return f"{recorded} recorded, {now} now"


def _logged(run: Run, snapshot: Snapshot) -> dict[str, Any]:
    """Return the logged values of a run, by name and step."""
    sql = f"select step, {', '.join(LOGGED)} from metrics where run_id = '{run.run_id}' order by step"
    rows = snapshot.ask(sql).table.to_pylist()
    return {f"{name} at step {row['step']}": row[name] for row in rows for name in LOGGED}


def _inexact(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return why two runs with the same id need not give the same bits. Empty: they must."""
    before, now = (facts_of_numbers(json.loads(row["env"] or "{}")) for row in (old, new))
    if differ := [name for name in before if name != "commit" and before[name] != now[name]]:
        return "; ".join(f"{name}: {_change(before[name], now[name])}" for name in differ)
    return "" if old["deterministic"] and new["deterministic"] else "the device is not deterministic"


def _same(one: Any, other: Any, exact: bool) -> bool:
    if not (isinstance(one, float) and isinstance(other, float)):
        return bool(one == other)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other if exact else math.isclose(one, other, rel_tol=TOLERANCE)
