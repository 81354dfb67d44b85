"""Finished runs trained again, and their numbers compared: a checksum shows that a record is whole, not true."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titans_lab.report.evidence import listed
from titans_lab.store.status import FINISHED
from titans_lab.store.succession import OF_NUMBERS

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot
    from titans_lab.study.run import Run

#: What is compared: of a run, and of each line that it logged.
FINAL = ("state", "steps", "tokens", "loss", "score", "train_loss", "diverged_step")
LOGGED = ("loss", "valid_loss", "valid_score")
TOLERANCE = 0.02  # relative, of loss and score where the bits are not promised to be the same
MOST_TOLD = 5  # differences of a run that are named


@dataclass(frozen=True)
class Reproduced:
    """A run, trained again.

    Attributes:
        run_id: The run's id.
        label: What tells it from the study's other runs.
        exact: Whether the numbers have to be the same to the last bit.
        why: What differs in the environment, or why the bits are not promised; empty if they are.
        compared: How many numbers were compared.
        differences: The numbers that differ, a line each; none: the run is reproduced.
    """

    run_id: str
    label: str
    exact: bool
    why: str
    compared: int
    differences: tuple[str, ...]


def sample(runs: Sequence[Run], snapshot: Snapshot, count: int) -> list[Run]:
    """Return `count` finished runs drawn at random, so that nobody can know which ones a check will take."""
    states = ", ".join(f"'{state}'" for state in sorted(FINISHED))
    sql = f"select run_id from runs where run_id in ({listed(run.run_id for run in runs)}) and state in ({states})"
    finished = set(snapshot.ask(sql).table.column("run_id").to_pylist())
    known = [run for run in runs if run.run_id in finished]
    return random.SystemRandom().sample(known, min(count, len(known)))


def compare(run: Run, recorded: Snapshot, again: Snapshot) -> Reproduced:
    """Compare what two stores hold of a run: every number exactly where that is promised, else loss and score."""
    old, new = (_run(run, snapshot) for snapshot in (recorded, again))
    why = _inexact(old, new)
    if why:
        figures = {name: (old[name], new[name]) for name in ("state", "loss", "score")}
    else:
        figures = {name: (old[name], new[name]) for name in FINAL}
        lines, others = (_logged(run, snapshot) for snapshot in (recorded, again))
        figures |= {key: (lines.get(key), others.get(key)) for key in {**lines, **others}}
    wrong = [f"{name}: {_told(*pair)}" for name, pair in figures.items() if not _same(*pair, exact=not why)]
    more = [f"and {len(wrong) - MOST_TOLD} more numbers"] if len(wrong) > MOST_TOLD else []
    if wrong and old["commit"] != new["commit"]:
        more.append(f"the code differs, too: commit {_told(old['commit'], new['commit'])}")
    return Reproduced(run.run_id, run.label, not why, why, len(figures), (*wrong[:MOST_TOLD], *more))


def _told(recorded: Any, now: Any) -> str:
    return f"{recorded} recorded, {now} now"


def _run(run: Run, snapshot: Snapshot) -> dict[str, Any]:
    (row,) = snapshot.ask(f"select * from runs where run_id = '{run.run_id}'").table.to_pylist()
    return row


def _logged(run: Run, snapshot: Snapshot) -> dict[str, Any]:
    """Return what a run logged, by the number's name and step."""
    sql = f"select step, {', '.join(LOGGED)} from metrics where run_id = '{run.run_id}' order by step"
    rows = snapshot.ask(sql).table.to_pylist()
    return {f"{name} at step {row['step']}": row[name] for row in rows for name in LOGGED}


def _inexact(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return why two runs of the same id need not give the same bits; empty if they have to."""
    envs = [json.loads(row["env"] or "{}") for row in (old, new)]
    differ = [name for name in OF_NUMBERS if name != "commit" and envs[0].get(name) != envs[1].get(name)]
    if differ:
        return "; ".join(f"{name}: {_told(envs[0].get(name), envs[1].get(name))}" for name in differ)
    return "" if old["deterministic"] and new["deterministic"] else "the device does not promise the same bits"


def _same(one: Any, other: Any, exact: bool) -> bool:
    if not (isinstance(one, float) and isinstance(other, float)):
        return bool(one == other)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other if exact else math.isclose(one, other, rel_tol=TOLERANCE)
