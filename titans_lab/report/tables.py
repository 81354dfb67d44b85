"""The table of arms, and the runs without a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design, ranked, spell
from titans_lab.report.data import Outcome
from titans_lab.report.section import Row, Table
from titans_lab.study.metric import Metric


@dataclass(frozen=True)
class Trouble:
    """A run that did not get to a final score: why, in a line, and all that was kept of it."""

    run_id: str
    label: str
    state: str
    reason: str
    trace: str


#: Headings and cells; {metric} stands for the name of the study's metric.
ARM_COLUMNS: dict[str, Callable[[Arm], str]] = {
    "done": lambda arm: f"{arm.count('done')} of {len(arm.outcomes)}",
    "diverged": lambda arm: str(arm.count("diverged")),
    "failed": lambda arm: str(arm.count("failed", "oom", "timeout", "cancelled", "lost")),
    "mean {metric}": lambda arm: _of_summary(arm, "mean"),
    "sd": lambda arm: _of_summary(arm, "sd"),
    "± 95\N{NO-BREAK SPACE}%": lambda arm: _of_summary(arm, "half_width"),
    "parameters": lambda arm: shown.short(recorded(arm, "parameters")),
    "state": lambda arm: shown.memory(recorded(arm, "state_bytes")),
    "tokens/s": lambda arm: shown.integer(arm.mean("tokens_per_second")),
    "peak memory": lambda arm: shown.memory(max(arm.measured("peak_memory_bytes"), default=None)),
    "wall time": lambda arm: shown.duration(arm.mean("wall_seconds")),
}


def factor_names(design: Design) -> tuple[str, ...]:
    """Headings of the columns that say which arm a row is about."""
    return (tuple(design.arms[0].factors) if design.arms else ()) or ("arm",)


def arm_table(design: Design, metric: Metric) -> Table:
    """Return the table of arms, in the order of the study."""
    best = ranked(design.arms, metric)
    rows = (_arm_row(arm, len(best) > 1 and _mean(arm) == _mean(best[0])) for arm in design.arms)
    columns = tuple(name.format(metric=metric.name) for name in ARM_COLUMNS)
    return Table(factor_names(design), columns, tuple(rows))


def troubles(design: Design) -> list[Trouble]:
    """Return the runs that ended without a final score."""
    ended = ((arm, outcome) for arm in design.arms for outcome in arm.outcomes)
    return [
        _trouble(arm, outcome) for arm, outcome in ended if outcome.result.state not in ("done", "running", "pending")
    ]


def missing(design: Design) -> list[str]:
    """Labels of the runs that were never started."""
    every = ((arm, outcome) for arm in design.arms for outcome in arm.outcomes)
    return [f"{arm.label}, seed {outcome.run.seed}" for arm, outcome in every if outcome.result.state == "pending"]


def _mean(arm: Arm) -> float | None:
    return arm.summary.mean if arm.summary else None


def _arm_row(arm: Arm, best: bool) -> Row:
    return Row(spelled(arm), tuple(cell(arm) for cell in ARM_COLUMNS.values()), arm.colour, best)


def _of_summary(arm: Arm, field: str) -> str:
    return shown.score(getattr(arm.summary, field)) if arm.summary else shown.NONE


def spelled(arm: Arm) -> tuple[str, ...]:
    """Values of its factors, as they stand in a row."""
    return tuple(spell(value) for value in arm.factors.values()) or (arm.label,)


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
