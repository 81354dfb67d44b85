"""The figure by which a study compares its arms: the task's metric, or another one that its runs record."""

from __future__ import annotations

from dataclasses import dataclass, replace

from titans_lab.study.search import MEASURED
from titans_lab.study.terms import Metric
from titans_lab.tasks.settings import Measure, TaskSettings

UNITS = {
    "train_loss": "as the loss",
    "tokens_per_second": "training tokens a second",
    "utilisation": "share of the FLOP/s of a plain product",
    "wall_seconds": "seconds",
    "peak_memory_bytes": "bytes",
}


@dataclass(frozen=True)
class Judged:
    """What arms are compared by.

    Attributes:
        measure: Its name, unit and better direction, and whether it is the last value or the best one.
        column: Of the view `runs`; of the best of all validations, of the view `metrics`.
    """

    measure: Measure
    column: str


def judged(metric: Metric | None, task: TaskSettings) -> Judged | None:
    """By what a study's `metric` compares runs of a task; None where that is no figure of a run.

    The metric and the loss of a task are better as the task says, whatever the direction asked for.
    """
    if metric is None:
        return Judged(task.METRIC, "score")
    own = {
        "score": (task.METRIC, "score"),
        task.METRIC.name: (task.METRIC, "score"),
        task.LOSS.name: (task.LOSS, "loss"),
    }
    if metric.name in own:
        measure, column = own[metric.name]
        best = metric.at == "best"
        return Judged(replace(measure, taken="best"), f"valid_{column}") if best else Judged(measure, column)
    if metric.name in MEASURED and metric.at == "final":
        return Judged(Measure(metric.name, UNITS[metric.name], metric.direction), metric.name)
    return None
