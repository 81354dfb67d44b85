"""The comparison of runs on a terminal: their settings, learning curves and final figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from titans_lab.report.data import CurvePoint, Material
from titans_lab.report.format import integer
from titans_lab.report.render import Report

#: The columns of the view `runs`, and their names in the table.
FIGURES = {
    "state": "state",
    "tokens": "tokens",
    "tokens_per_second": "tokens/s",
    "wall_seconds": "seconds",
    "peak_memory_bytes": "peak memory, bytes",
    "parameters": "parameters",
    "flops_per_token": "FLOPs a token",
    "diverged_step": "diverged at step",
    "device_name": "device",
    "commit": "commit",
}
PARTS = 8  # the points of a curve in the table


def rows(report: Report) -> Iterator[tuple[str, list[Any]]]:
    """Yield each row of the comparison: its name, and its value for every run."""
    found = report.material
    yield "seed", [outcome.run.seed for outcome in found.outcomes]
    for key in found.study.factors:
        yield key, [outcome.run.factors[key] for outcome in found.outcomes]
    yield f"{found.metric.taken} {found.metric.label}", [outcome.score for outcome in found.outcomes]
    for column, name in FIGURES.items():
        values = [getattr(outcome.result, column) for outcome in found.outcomes]
        if any(value is not None for value in values):
            yield name, values
    yield from _curves(found)


def records(report: Report) -> list[dict[str, Any]]:
    """Return each run as a program reads it: its settings that differ and its figures, under the names of the views."""
    found = report.material
    return [
        {
            "run_id": outcome.run.run_id,
            "seed": outcome.run.seed,
            **outcome.run.factors,
            "metric": found.metric.name,
            "unit": found.metric.unit,
            "score": outcome.score,
            **{column: getattr(outcome.result, column) for column in FIGURES},
        }
        for outcome in found.outcomes
    ]


def _curves(found: Material) -> Iterator[tuple[str, list[Any]]]:
    """Yield the losses at an eighth of the longest curve's tokens, at two eighths, and so on."""
    curves = [found.curves.get(outcome.run.run_id, []) for outcome in found.outcomes]
    longest = max(curves, key=lambda curve: curve[-1].tokens if curve else 0)
    for tokens in _marks([point.tokens for point in longest]):
        name = f"{found.curve_kind} {found.loss.name} at {integer(tokens)} tokens"
        yield name, [_at(curve, tokens) for curve in curves]


def _marks(measured: Sequence[int]) -> list[int]:
    """Return the first place at or after each eighth of a curve where it has a value; none twice."""
    targets = [measured[-1] * part / PARTS for part in range(1, PARTS + 1)] if measured else []
    return list(dict.fromkeys(min(tokens for tokens in measured if tokens >= target) for target in targets))


def _at(curve: Sequence[CurvePoint], tokens: int) -> float | None:
    """Return the last loss up to so many tokens; None where the curve ends before."""
    before = [point.loss for point in curve if point.tokens <= tokens]
    return before[-1] if before and curve[-1].tokens >= tokens else None
