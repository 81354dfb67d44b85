"""Runs side by side on a terminal: their settings, learning curves and final figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from titans_lab.report.data import CURVE_POINTS, CurvePoint, Material
from titans_lab.report.format import short
from titans_lab.report.render import Report

#: Columns of the view `runs`, and how the rows name them.
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
PARTS = 8  # of a curve that stand in the table


def rows(told: Report) -> Iterator[tuple[str, list[Any]]]:
    """Yield each row of the comparison: its name, and its value for every run."""
    found = told.material
    yield "seed", [outcome.run.seed for outcome in found.outcomes]
    for key in found.study.factors:
        yield key, [outcome.run.factors[key] for outcome in found.outcomes]
    yield f"{found.metric.taken} {found.metric.label}", [outcome.score for outcome in found.outcomes]
    for column, name in FIGURES.items():
        values = [getattr(outcome.result, column) for outcome in found.outcomes]
        if any(value is not None for value in values):
            yield name, values
    yield from _curves(found)


def _curves(found: Material) -> Iterator[tuple[str, list[Any]]]:
    curves = [found.curves.get(outcome.run.run_id, []) for outcome in found.outcomes]
    most = max((curve[-1].tokens for curve in curves if curve), default=0)
    for part in range(1, PARTS + 1):
        if most:
            name = f"{found.curve_kind} {found.loss.name} at {short(most * part / PARTS)} tokens"
            yield name, [_at(curve, part * CURVE_POINTS // PARTS) for curve in curves]


def _at(curve: list[CurvePoint], bucket: int) -> float | None:
    """Return the last loss up to a bucket; None if the curve ends before it."""
    before = [point.loss for point in curve if point.bucket <= bucket]
    return before[-1] if before and curve[-1].bucket >= bucket else None
