"""Read the history of a store: the states of all runs, and costs and scores of the finished ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from titans_lab.run.config import RunConfig
from titans_lab.run.identity import versions
from titans_lab.run.metric import Metric
from titans_lab.run.run import Run, config_in
from titans_lab.store.files import Damage
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store

SQL = """
select run_id, seed, data_hash, config, versions, env, device, device_name, state, wall_seconds, steps,
       peak_memory_bytes, parent, {score} as score
from runs order by run_id"""


class Hardware(NamedTuple):
    """The hardware, its number of devices and the kernel on which a run's cost depends."""

    device: str
    name: str
    threads: int
    precision: str
    kernel: str
    devices: int


@dataclass(frozen=True)
class Past:
    """A finished run.

    Attributes:
        run_id: The run's id.
        config: The configuration.
        seed: The seed of the initial values and batches.
        data_hash: The hash of its data's content.
        versions: The versions of the parts that decided its numbers.
        hardware: The hardware that it ran on, or None where it was not recorded.
        step_seconds: Seconds of a step, with its share of the validations, or None where they are not known.
        peak_bytes: The most memory that it held, or None where it is not known.
        score: The final score, or None where the run diverged.
        parent: The id of the run whose weights it began with, or None.
    """

    run_id: str
    config: RunConfig
    seed: int
    data_hash: str
    versions: Mapping[str, int]
    hardware: Hardware | None
    step_seconds: float | None
    peak_bytes: int | None
    score: float | None
    parent: str | None = None


@dataclass(frozen=True)
class History:
    """The runs of a store, read once.

    Attributes:
        finished: The finished runs whose configuration can still be read.
        states: The state of every run, by its id.
        envs: Host and versions of each finished run, by its id.
        damage: The records that could not be read.
    """

    finished: tuple[Past, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    envs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()

    def state(self, run: Run) -> str:
        """Return the state of a run; "pending" where the store does not know it."""
        return self.states.get(run.run_id, "pending")

    def finished_envs(self, runs: Iterable[Run]) -> list[Mapping[str, Any]]:
        """Return host and versions of those of the runs that have finished."""
        return [self.envs[run.run_id] for run in runs if run.run_id in self.envs]

    def missing(self, runs: Iterable[Run]) -> list[Run]:
        """Return the runs without a result."""
        return [run for run in runs if self.state(run) not in FINISHED]


def read_history(store: Store, metric: Metric | None = None) -> History:
    """Read the runs of a store; none where the store is not there yet.

    Args:
        store: The store.
        metric: The metric of the scores. None: each task's own metric.
    """
    from titans_lab.store.query import ask

    if not (store.root / "runs").is_dir():
        return History()
    answer = ask(store.root, SQL.format(score=metric.sql if metric else "score"))
    rows = answer.table.to_pylist()
    finished = [row for row in rows if row["state"] in FINISHED]
    return History(
        finished=tuple(past for row in finished if (past := _past(row))),
        states={row["run_id"]: row["state"] for row in rows},
        envs={row["run_id"]: _object(row["env"]) for row in finished},
        damage=answer.damage,
    )


def _past(row: dict[str, Any]) -> Past | None:
    config = config_in(row["config"])
    if config is None:
        return None
    return Past(
        run_id=row["run_id"],
        config=config,
        seed=row["seed"],
        data_hash=row["data_hash"] or "",
        versions=_object(row["versions"]),
        hardware=_hardware(row, config),
        step_seconds=_step_seconds(row),
        peak_bytes=peak if (peak := row["peak_memory_bytes"] or 0) > 0 else None,
        score=row["score"] if row["state"] == "done" and math.isfinite(row["score"] or math.nan) else None,
        parent=row["parent"],
    )


def _step_seconds(row: dict[str, Any]) -> float | None:
    """Return the seconds of a step, or None where the record has no two numbers that give one."""
    seconds, steps = row["wall_seconds"] or 0.0, row["steps"] or 0
    taken = seconds / steps if steps > 0 and row["state"] == "done" else 0.0
    return taken if 0 < taken < math.inf else None


@lru_cache(maxsize=1000)  # runs of one machine share the text
def _object(text: str | None) -> dict[str, Any]:
    return dict(json.loads(text or "{}"))


def _hardware(row: dict[str, Any], config: RunConfig) -> Hardware | None:
    if not row["device"] or not row["device_name"]:
        return None
    env = _object(row["env"])
    kernel, devices = env.get("kernel") or config.speed.kernel, env.get("devices") or 1
    threads = env.get("threads") or 1
    return Hardware(row["device"], row["device_name"], threads, config.train.precision, kernel, devices)


def past_of(
    run: Run, hardware: Hardware | None = None, step_seconds: float | None = None, peak_bytes: int | None = None
) -> Past:
    """Return a run that is yet to come, or of which a few steps were measured, in the form of a finished one."""
    about = run.run_id, run.config, run.seed, run.data_hash, versions(run.config)
    return Past(*about, hardware, step_seconds, peak_bytes, None, run.parent.run_id if run.parent else None)
