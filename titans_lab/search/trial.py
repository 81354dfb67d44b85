"""A trial of a search, as the store keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TrialState = Literal["running", "done", "pruned", "stopped", "diverged", "oom", "failed", "infeasible"]
Origin = Literal["sampler", "enqueued", "store"]


@dataclass(frozen=True)
class Trial:
    """A point of a search space, the runs that tried it, and how it ended.

    Attributes:
        number: The number, from 0.
        origin: The origin of the point: the sampler, the study's `enqueue`, or runs that the store had already.
        params: The values by dotted key. A parameter whose condition is false is left out.
        state: The state. "stopped" means stopped early by racing.
        values: The objectives, as means over the seeds that have run, or None where there are none.
        runs: The ids of its runs, one for each seed.
        by_seed: The objectives of each seed that has ended, in order.
        reports: The values reported to the pruner, by the number of the report.
        limits: The share by which each constraint is violated. A constraint with a share of at most 0 is met.
        why: The reason why it ended early.
        steps: The steps that its runs have taken.
        planned: The steps that all of its seeds would take.
        told: The values reported to the sampler for a trial without values, or None where none were.
        attributes: The data that the sampler and the pruner keep with it.
        started: The time of its start: ISO 8601, UTC.
        ended: The time of its end, or None while it runs.
    """

    number: int
    origin: Origin
    params: Mapping[str, Any]
    state: TrialState = "running"
    values: tuple[float, ...] | None = None
    runs: tuple[str, ...] = ()
    by_seed: tuple[tuple[float, ...], ...] = ()
    reports: Mapping[int, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    why: str | None = None
    steps: int = 0
    planned: int = 0
    told: tuple[float, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None
    ended: str | None = None

    @property
    def running(self) -> bool:
        """Return whether it has not ended."""
        return self.state == "running"

    @property
    def feasible(self) -> bool:
        """Return whether it has values and meets every bound."""
        return self.state == "done" and all(excess <= 0 for excess in self.limits.values())

    def plain(self) -> dict[str, Any]:
        """Return the trial as JSON can have it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Trial:
        """Return the trial of a record that `plain` gave."""
        names = {each.name for each in dataclasses.fields(cls)}
        known = {key: value for key, value in record.items() if key in names}
        known["runs"] = tuple(known["runs"])
        for name in ("values", "told"):
            known[name] = known.get(name) and tuple(known[name])
        known["by_seed"] = tuple(map(tuple, known.get("by_seed", ())))
        known["reports"] = {int(step): value for step, value in known["reports"].items()}
        return cls(**known)
