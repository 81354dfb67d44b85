"""The table of runs: each run's changes to the baseline, and its result."""

from __future__ import annotations

from collections.abc import Callable

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material, Outcome
from titans_lab.report.section import Row, Table, TableCell, cell
from titans_lab.report.subject import Subject
from titans_lab.report.tables import factor_names, spelled
from titans_lab.run.metric import Metric
from titans_lab.run.values import show as spell_setting

#: Headings and cells; {metric} stands for the name of the study's metric.
COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "seed": lambda each: cell(str, seed=each.run.seed),
    "state": lambda each: each.result.state,
    "{metric}": lambda each: cell(shown.score, score=each.score),
    "tokens/s": lambda each: cell(shown.integer, tokens_per_second=each.result.tokens_per_second),
    "tokens": lambda each: cell(shown.short, tokens=each.result.tokens),
    "wall time": lambda each: cell(shown.duration, wall_seconds=each.result.wall_seconds),
    "device": lambda each: each.result.device_name or each.result.device or shown.NONE,
}
PARENT = "parent"  # the run whose weights a run began with, in studies that have such runs
CHANGES = "changes to the baseline"


def run_table(material: Material, design: Design) -> Table:
    """Return the table of runs, arm by arm."""
    columns = columns_of(material.metric)
    parents = (PARENT,) if any(run.parent for run in material.study.runs) else ()
    rows = tuple(_row(material.study, arm, outcome, parents) for arm in design.arms for outcome in arm.outcomes)
    return Table(
        ("run", *factor_names(design)),
        (*columns, *parents, CHANGES),
        rows,
        words=("state", "device", *parents, CHANGES),
        metric=material.metric,
        main=("seed", "state", material.metric.name),
    )


def base_lines(study: Subject) -> str:
    """Return the baseline's configuration, a line for every key."""
    return "\n".join(f"{key}: {spell_setting(value)}" for key, value in study.base.items()) if study.runs else ""


def changed(study: Subject, outcome: Outcome) -> str:
    """Return a run's changes to the baseline's configuration."""
    changes = study.changes(outcome.run)
    return ", ".join(f"{key}={spell_setting(value)}" for key, value in changes.items()) or "none"


def columns_of(metric: Metric) -> tuple[str, ...]:
    """Return the headings of the columns that hold a run's figures."""
    return tuple(name.format(metric=metric.name) for name in COLUMNS)


def _row(study: Subject, arm: Arm, outcome: Outcome, parents: tuple[str, ...]) -> Row:
    parent = outcome.run.parent.run_id if outcome.run.parent else shown.NONE
    cells = (*(show(outcome) for show in COLUMNS.values()), *(parent for _ in parents), changed(study, outcome))
    return Row((TableCell(outcome.run.run_id, run_id=outcome.run.run_id), *spelled(arm)), cells, arm.colour)
