"""The rows of the tables, as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design, ranked, spell
from titans_lab.report.data import Outcome
from titans_lab.study.identity import flatten
from titans_lab.study.tasks import Measure
from titans_lab.study.values import show


@dataclass(frozen=True)
class Row:
    """An arm or a run.

    Attributes:
        colour: Of its arm, an index into the palette.
        factors: Values of the study's factors.
        cells: Its values of `ARM_COLUMNS` or `RUN_COLUMNS`.
        best: Whether it is the arm with the best mean.
        run_id: Of a run.
        state: Of a run.
        config: Of a run, a line for every key.
    """

    colour: int
    factors: tuple[str, ...]
    cells: tuple[str, ...]
    best: bool = False
    run_id: str = ""
    state: str = ""
    config: str = ""


@dataclass(frozen=True)
class Trouble:
    """A run that did not get to a final score: why, in a line, and all that was kept of it."""

    run_id: str
    label: str
    state: str
    reason: str
    trace: str


#: Headings and cells; {metric} stands for the name of the study's measure.
ARM_COLUMNS: dict[str, Callable[[Arm], str]] = {
    "done": lambda arm: f"{arm.count('done')} of {len(arm.outcomes)}",
    "diverged": lambda arm: str(arm.count("diverged")),
    "failed": lambda arm: str(arm.count("failed", "oom", "timeout", "cancelled", "lost")),
    "mean {metric}": lambda arm: _of_summary(arm, "mean"),
    "sd": lambda arm: _of_summary(arm, "sd"),
    "± 95\N{NO-BREAK SPACE}%": lambda arm: _of_summary(arm, "half_width"),
    "parameters": lambda arm: shown.short(_parameters(arm)),
    "tokens/s": lambda arm: shown.integer(arm.mean("tokens_per_second")),
    "peak memory": lambda arm: shown.memory(max(arm.measured("peak_memory_bytes"), default=None)),
    "wall time": lambda arm: shown.duration(arm.mean("wall_seconds")),
}
RUN_COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "seed": lambda outcome: str(outcome.run.seed),
    "state": lambda outcome: outcome.result.state,
    "{metric}": lambda outcome: shown.score(outcome.score),
    "tokens/s": lambda outcome: shown.integer(outcome.result.tokens_per_second),
    "tokens": lambda outcome: shown.short(outcome.result.tokens),
    "wall time": lambda outcome: shown.duration(outcome.result.wall_seconds),
    "device": lambda outcome: outcome.result.device_name or outcome.result.device or shown.NONE,
}


def factor_names(design: Design) -> tuple[str, ...]:
    """Headings of the factors' columns."""
    return tuple(design.arms[0].factors) if design.arms else ()


def headings(columns: Iterable[str], measure: Measure) -> tuple[str, ...]:
    """Of a table's columns."""
    return tuple(name.format(metric=measure.name) for name in columns)


def arm_rows(design: Design, measure: Measure) -> list[Row]:
    """The table of arms, in the order of the study."""
    best = ranked(design.arms, measure)
    return [_arm_row(arm, len(best) > 1 and _mean(arm) == _mean(best[0])) for arm in design.arms]


def run_rows(design: Design) -> list[Row]:
    """The table of runs, arm by arm."""
    return [_run_row(arm, outcome) for arm in design.arms for outcome in arm.outcomes]


def troubles(design: Design) -> list[Trouble]:
    """The runs that ended without a final score."""
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
    return Row(arm.colour, spelled(arm), tuple(cell(arm) for cell in ARM_COLUMNS.values()), best)


def _run_row(arm: Arm, outcome: Outcome) -> Row:
    return Row(
        colour=arm.colour,
        factors=spelled(arm),
        cells=tuple(cell(outcome) for cell in RUN_COLUMNS.values()),
        run_id=outcome.run.run_id,
        state=outcome.result.state,
        config="\n".join(f"{key}: {show(value)}" for key, value in flatten(dataclasses.asdict(outcome.run.config))),
    )


def _of_summary(arm: Arm, field: str) -> str:
    return shown.score(getattr(arm.summary, field)) if arm.summary else shown.NONE


def spelled(arm: Arm) -> tuple[str, ...]:
    """Values of its factors, as they stand in a row."""
    return tuple(spell(value) for value in arm.factors.values())


def _parameters(arm: Arm) -> int | None:
    return next((one.result.parameters for one in arm.outcomes if one.result.parameters is not None), None)


def _trouble(arm: Arm, outcome: Outcome) -> Trouble:
    result = outcome.result
    lines = (result.error or "").strip().splitlines()
    reasons = {"diverged": f"at step {result.diverged_step}", "lost": "its worker ended without a word"}
    return Trouble(
        run_id=result.run_id,
        label=f"{arm.label}, seed {outcome.run.seed}",
        state=result.state,
        reason=lines[-1] if lines else reasons.get(result.state, "nothing was recorded"),
        trace=result.error if result.error and len(lines) > 1 else "",
    )
