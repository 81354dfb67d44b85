"""The metrics that runs are compared by, with their names, units and directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from titans_lab.errors import nearest

Direction = Literal["minimize", "maximize"]
Taken = Literal["final", "best"]

#: The columns of the views `runs` and `metrics` that hold the loss and the score of a run.
ON_THE_WAY = {"loss": "valid_loss", "score": "valid_score"}


@dataclass(frozen=True)
class Metric:
    """A metric that runs are compared by.

    Attributes:
        name: The name, one word, such as "loss" or "accuracy".
        unit: The unit of its values, such as "bits per byte" or "share of answers".
        direction: "minimize" where lower values are better, "maximize" where higher ones are.
        taken: "final" is the value at the end of a run, "best" the best value of all its validations.
        column: The column in the view `runs`, or in the view `metrics` if `taken` is "best". "": only the view `evals`
            has the metric.
    """

    name: str
    unit: str
    direction: Direction = "minimize"
    taken: Taken = "final"
    column: str = ""

    @property
    def label(self) -> str:
        """Return the name and the unit, for an axis."""
        return f"{self.name}, {self.unit}"

    @property
    def sql(self) -> str:
        """Return the SQL expression over the view `runs` for a run's value."""
        if self.taken == "final":
            return self.column
        best = "min" if self.direction == "minimize" else "max"
        return f"(select {best}({self.column}) from metrics m where m.run_id = runs.run_id and isfinite({self.column}))"

    def better(self, value: float, other: float) -> bool:
        """Return whether `value` is better than `other`."""
        return value < other if self.direction == "minimize" else value > other


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: replace(metric, column=metric.name) for metric in metrics}


#: The metrics that every run records at its end, for every task.
RECORDED = _by_name(
    Metric("train_loss", "as the loss"),
    Metric("tokens_per_second", "training tokens a second", "maximize"),
    Metric("utilisation", "share of the FLOP/s of a plain product", "maximize"),
    Metric("wall_seconds", "seconds"),
    Metric("peak_memory_bytes", "bytes"),
)
#: The metrics that are known before a run starts: see `titans_lab.run.derived`.
COSTS = _by_name(
    Metric("params", "parameters"),
    Metric("flops", "training FLOPs"),
    Metric("flops_per_token", "training FLOPs a token"),
    Metric("state_bytes", "bytes"),
    Metric("steps", "optimiser steps"),
)
#: The columns of the view `runs` that hold a metric of a finished run.
MEASURED = (*ON_THE_WAY, *RECORDED)


def find(known: Mapping[str, Metric], name: str, direction: Direction | None = None, taken: Taken = "final") -> Metric:
    """Return the metric that a study asks for.

    Args:
        known: The valid metrics by name: those of the task (`TaskSettings.metrics`) and others.
        name: The name of the metric. "score" is the task's metric.
        direction: Whether lower or higher values are better. By default the usual direction, the only one for a task's
            metric.
        taken: "final" or "best". Only the task's own metrics have values before the end.

    Raises:
        ValueError: Runs record no such metric, or not in this way. The message says what to write.
    """
    if name not in known:
        raise ValueError(f"runs record no {name}; {nearest(name, tuple(known))}")
    metric = known[name]
    on_the_way = ON_THE_WAY.get(metric.column)
    if direction not in (None, metric.direction):
        if on_the_way:
            better = "lower" if metric.direction == "minimize" else "higher"
            raise ValueError(f"{better} values of {name} are better; write {metric.direction}, or remove the direction")
        metric = replace(metric, direction=direction)
    if taken == "final":
        return metric
    if not on_the_way:
        raise ValueError(f"{name} is known at the end of a run alone; write taken: final")
    return replace(metric, taken=taken, column=on_the_way)
