"""The table of runs: each run's changes to the baseline, and its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material, Outcome
from titans_lab.report.section import Row, Table
from titans_lab.report.subject import Subject
from titans_lab.report.tables import factor_names, spelled
from titans_lab.study.metric import Metric
from titans_lab.study.values import show

#: Headings, what the cells show and what they sort by; {metric} stands for the name of the study's metric.
COLUMNS: dict[str, tuple[Callable[[Outcome], str], Callable[[Outcome], Any]]] = {
    "seed": (lambda each: str(each.run.seed), lambda each: each.run.seed),
    "state": (lambda each: each.result.state, lambda each: each.result.state),
    "{metric}": (lambda each: shown.score(each.score), lambda each: each.score),
    "tokens/s": (lambda each: shown.integer(each.result.tokens_per_second), lambda each: each.result.tokens_per_second),
    "tokens": (lambda each: shown.short(each.result.tokens), lambda each: each.result.tokens),
    "wall time": (lambda each: shown.duration(each.result.wall_seconds), lambda each: each.result.wall_seconds),
    "device": (lambda each: _device(each), lambda each: _device(each)),
}
CHANGES = "changes to the baseline"


def run_table(material: Material, design: Design) -> Table:
    """Return the table of runs, arm by arm."""
    columns = columns_of(material.metric)
    rows = tuple(_row(material.study, arm, outcome) for arm in design.arms for outcome in arm.outcomes)
    return Table(("run", *factor_names(design)), (*columns, CHANGES), rows, words=("state", "device", CHANGES))


def base_lines(study: Subject) -> str:
    """Return the baseline's configuration, a line for every key."""
    return "\n".join(f"{key}: {show(value)}" for key, value in study.base.items()) if study.runs else ""


def changed(study: Subject, outcome: Outcome) -> str:
    """Return a run's changes to the baseline's configuration."""
    changes = study.changes(outcome.run)
    return ", ".join(f"{key}={show(value)}" for key, value in changes.items()) or "none"


def columns_of(metric: Metric) -> tuple[str, ...]:
    """Headings of the columns that hold a run's figures."""
    return tuple(name.format(metric=metric.name) for name in COLUMNS)


def _row(study: Subject, arm: Arm, outcome: Outcome) -> Row:
    cells = (*(cell(outcome) for cell, _ in COLUMNS.values()), changed(study, outcome))
    values = tuple(value(outcome) for _, value in COLUMNS.values())
    return Row((outcome.run.run_id, *spelled(arm)), cells, arm.colour, values=values)


def _device(outcome: Outcome) -> str:
    return outcome.result.device_name or outcome.result.device or shown.NONE
