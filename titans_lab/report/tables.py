"""The table of arms, and the runs without a result."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design, spell
from titans_lab.report.data import Outcome
from titans_lab.report.section import Row, Table, TableCell, cell, identifier
from titans_lab.run.comparison import ABSENT
from titans_lab.run.metric import ON_THE_WAY, Metric


@dataclass(frozen=True)
class Trouble:
    """A run without a final score, with the reason in a line and its traceback."""

    run_id: str
    label: str
    state: str
    reason: str
    trace: str


HALF = "± 95\N{NO-BREAK SPACE}%"
#: Headings and cells; {metric} stands for the name of the study's metric.
ARM_COLUMNS: dict[str, Callable[[Arm], TableCell]] = {
    "done": lambda arm: TableCell(
        f"{arm.count('done')} of {len(arm.outcomes)}", done=arm.count("done"), seeds=len(arm.outcomes)
    ),
    "diverged": lambda arm: cell(str, diverged=arm.count("diverged")),
    "failed": lambda arm: cell(str, failed=arm.count("failed", "oom", "timeout", "lost")),
    "cancelled": lambda arm: cell(str, cancelled=arm.count("cancelled")),
    "mean {metric}": lambda arm: cell(shown.score, mean=_of_summary(arm, "mean")),
    "sd": lambda arm: cell(shown.score, sd=_of_summary(arm, "sd")),
    HALF: lambda arm: cell(shown.score, half_width_95=_of_summary(arm, "half_width")),
    "parameters": lambda arm: cell(shown.short, parameters=recorded(arm, "parameters")),
    "state": lambda arm: cell(shown.memory, state_bytes=recorded(arm, "state_bytes")),
    "tokens/s": lambda arm: cell(shown.integer, tokens_per_second=arm.mean("tokens_per_second")),
    "peak memory": lambda arm: cell(
        shown.memory, peak_memory_bytes=max(arm.measured("peak_memory_bytes"), default=None)
    ),
    "wall time": lambda arm: cell(shown.duration, wall_seconds=arm.mean("wall_seconds")),
}


def factor_names(design: Design) -> tuple[str, ...]:
    """Return the headings of the columns that say which arm a row is about."""
    return (tuple(design.arms[0].factors) if design.arms else ()) or ("arm",)


def arm_table(design: Design, metric: Metric, better: Collection[Arm]) -> Table:
    """Return the table of arms, in the order of the study; those that the verdict calls `better` are bold."""
    shown_columns = _columns(design, metric)
    rows = (
        Row(spelled(arm), tuple(show(arm) for show in shown_columns.values()), arm.colour, arm in better)
        for arm in design.arms
    )
    columns = tuple(name.format(metric=metric.name) for name in shown_columns)
    return Table(factor_names(design), columns, tuple(rows), metric=metric, main=(f"mean {metric.name}", HALF))


def _columns(design: Design, metric: Metric) -> dict[str, Callable[[Arm], TableCell]]:
    """Return the columns. The mean without writes follows the mean where an arm has it by the study's metric."""
    name = f"{metric.column}_writes_off"
    recorded = metric.taken == "final" and metric.column in ON_THE_WAY
    if not (recorded and any(arm.measured(name) for arm in design.arms)):
        return ARM_COLUMNS
    columns: dict[str, Callable[[Arm], TableCell]] = {}
    for heading, show in ARM_COLUMNS.items():
        columns[heading] = show
        if heading == HALF:
            columns["writes off"] = lambda arm: cell(shown.score, writes_off=arm.mean(name))
    return columns


def troubles(design: Design) -> list[Trouble]:
    """Return the runs that ended without a final score."""
    ended = ((arm, outcome) for arm in design.arms for outcome in arm.outcomes)
    return [
        _trouble(arm, outcome) for arm, outcome in ended if outcome.result.state not in ("done", "running", "pending")
    ]


def missing(design: Design) -> list[str]:
    """Return the labels of the runs that were never started."""
    every = ((arm, outcome) for arm in design.arms for outcome in arm.outcomes)
    return [f"{arm.label}, seed {outcome.run.seed}" for arm, outcome in every if outcome.result.state == "pending"]


def _of_summary(arm: Arm, field: str) -> float | None:
    return getattr(arm.summary, field) if arm.summary else None


def spelled(arm: Arm) -> tuple[str, ...]:
    """Return the cells of the arm's factors, or its label without factors."""
    cells = (
        TableCell(spell(value), **{identifier(name): None if value == ABSENT else value})
        for name, value in arm.factors.items()
    )
    return tuple(cells) or (arm.label,)


def recorded(arm: Arm, name: str) -> int | None:
    """Return the first recorded value of what the runs of an arm share."""
    values = (getattr(outcome.result, name) for outcome in arm.outcomes)
    return next((value for value in values if value is not None), None)


def _trouble(arm: Arm, outcome: Outcome) -> Trouble:
    result = outcome.result
    lines = (result.error or "").strip().splitlines()
    reasons = {"diverged": f"at step {result.diverged_step}", "lost": "the worker died without a message"}
    return Trouble(
        run_id=result.run_id,
        label=f"{arm.label}, seed {outcome.run.seed}",
        state=result.state,
        reason=lines[-1] if lines else reasons.get(result.state, "no message was recorded"),
        trace=result.error if result.error and len(lines) > 1 else "",
    )
