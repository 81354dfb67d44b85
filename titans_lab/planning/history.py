"""The finished runs of a store, as far as they tell what others will cost and what is new about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from titans_lab.store.store import Store
from titans_lab.study.config import RunConfig
from titans_lab.study.identity import versions
from titans_lab.study.run import Run, config_in

SQL = """
select run_id, seed, data_hash, config, versions, env, device, device_name, state, wall_seconds, steps,
       peak_memory_bytes, score
from runs where state in ('done', 'diverged') and config is not null order by run_id"""


class Hardware(NamedTuple):
    """What costs depend on besides a run's configuration: equal for runs that cost alike."""

    device: str
    name: str
    threads: int
    precision: str
    kernel: str


@dataclass(frozen=True)
class Past:
    """A finished run.

    Attributes:
        run_id: Its name in the store.
        config: All that was set for it.
        seed: Of its initial values and batches.
        data_hash: Of its data's content.
        versions: Of the parts that decided its numbers.
        hardware: That it ran on; None where that was not recorded.
        step_seconds: Of a step, its share of the validations included; None where it is not known.
        peak_bytes: Most memory held.
        score: Its final one; None where it diverged.
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


def read_history(store: Store) -> list[Past]:
    """Those of a store whose configuration can still be read; none where there is no store."""
    from titans_lab.store.query import query

    if not (store.root / "runs").is_dir():
        return []
    return [past for row in query(store.root, SQL).to_pylist() if (past := _past(row))]


def _past(row: dict[str, Any]) -> Past | None:
    config = config_in(row["config"])
    if config is None:
        return None
    env = json.loads(row["env"] or "{}")
    seconds, steps = row["wall_seconds"], row["steps"]
    return Past(
        run_id=row["run_id"],
        config=config,
        seed=row["seed"],
        data_hash=row["data_hash"] or "",
        versions=json.loads(row["versions"] or "{}"),
        hardware=_hardware(row, env, config),
        step_seconds=seconds / steps if seconds and steps and row["state"] == "done" else None,
        peak_bytes=row["peak_memory_bytes"] or None,
        score=row["score"] if row["state"] == "done" else None,
    )


def _hardware(row: dict[str, Any], env: dict[str, Any], config: RunConfig) -> Hardware | None:
    if not row["device"] or not row["device_name"]:
        return None
    kernel = env.get("kernel") or config.speed.kernel
    return Hardware(row["device"], row["device_name"], env.get("threads") or 1, config.train.precision, kernel)


def past_of(
    run: Run, hardware: Hardware | None = None, step_seconds: float | None = None, peak_bytes: int | None = None
) -> Past:
    """A run that is yet to come, or of which some steps were measured, in the same form."""
    about = run.run_id, run.config, run.seed, run.data_hash, versions(run.config)
    return Past(*about, hardware, step_seconds, peak_bytes, None)
