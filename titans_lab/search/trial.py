"""A trial of a search, as it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TrialState = Literal["running", "done", "pruned", "raced", "diverged", "oom", "failed", "infeasible"]
Origin = Literal["sampler", "enqueued", "store"]


@dataclass(frozen=True)
class Trial:
    """One point of a space, what became of it, and the runs that it was.

    Attributes:
        number: From 0.
        origin: Who proposed it: the sampler, the study's `enqueue`, or runs that the store had already.
        params: Values by dotted key; a parameter whose condition does not hold is not there.
        state: How it stands.
        values: Of the objectives, means over seeds; None: it has none. Of one stopped early, of the seeds it had.
        runs: Ids, a run a seed.
        by_seed: The objectives of each seed that has ended, in order.
        reports: What the pruner was told: values by the count of reports.
        limits: By what share each bound is violated; at most 0: it holds.
        why: What stopped it, for people.
        steps: That its runs have taken.
        planned: Steps that all seeds would have taken.
        told: The values that a trial without any was given for the sampler; None: none.
        attributes: What the sampler and the pruner keep with it.
        started: ISO 8601, UTC.
        ended: The same; None: it has not.
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
        """Whether nothing was told of it yet."""
        return self.state == "running"

    @property
    def feasible(self) -> bool:
        """Whether it has values and meets every bound."""
        return self.state == "done" and all(excess <= 0 for excess in self.limits.values())

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Trial:
        """From what `plain` gave."""
        names = {each.name for each in dataclasses.fields(cls)}
        known = {key: value for key, value in record.items() if key in names}
        known["runs"] = tuple(known["runs"])
        for name in ("values", "told"):
            known[name] = known.get(name) and tuple(known[name])
        known["by_seed"] = tuple(map(tuple, known.get("by_seed", ())))
        known["reports"] = {int(step): value for step, value in known["reports"].items()}
        return cls(**known)
