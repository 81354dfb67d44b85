"""Lines over the seeds of an arm: their mean and their range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from titans_lab.report import plot
from titans_lab.report.arms import Arm
from titans_lab.report.plot import Json

DIGITS = 5  # significant digits of drawn values, so that the page stays small

#: The value of a run at each place along x.
Curve = Mapping[float, float]


@dataclass(frozen=True)
class Spread:
    """The mean and the range of an arm's seeds, wherever one of them has a value.

    Attributes:
        x: The places along x, ascending.
        mean: The mean of the seeds that have a value there.
        low: The lowest value of a seed there.
        high: The highest value of a seed there.
        seeds: The number of seeds.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def spread(arm: Arm, curves: Mapping[str, Curve]) -> Spread | None:
    """Return the spread over an arm's finished seeds, from their curves by run id; None if no seed has one."""
    found = [curves[outcome.run.run_id] for outcome in arm.done if outcome.run.run_id in curves]
    places = sorted({x for curve in found for x in curve})
    values = [[curve[x] for curve in found if x in curve] for x in places]
    if not values:
        return None
    means = (math.fsum(each) / len(each) for each in values)
    low, high = (tuple(rounded(map(end, values))) for end in (min, max))
    return Spread(tuple(places), tuple(rounded(means)), low, high, len(found))


def rounded(values: Iterable[float]) -> list[float]:
    """Return the values with `DIGITS` significant digits."""
    return [float(f"{value:.{DIGITS}g}") for value in values]


def banded(arm: Arm, found: Spread, hover: str, legend: bool, **more: Any) -> list[Json]:
    """Return the mean with a band from the lowest to the highest seed; `hover` is Plotly's template."""
    named = {"legendgroup": arm.label, "showlegend": legend}
    template = f"{plot.text(arm.label)}<br>{hover}<extra></extra>"
    line = plot.line(arm, found.x, found.mean, hovertemplate=template, **named) | more
    return [plot.band(arm, found.x, found.low, found.high), line] if found.seeds > 1 else [line]


def marked(arm: Arm, x: Iterable[float], y: Iterable[float], legend: bool, **more: Any) -> Json:
    """Return a line with a marker at each value."""
    markers = {"color": plot.colour(arm), "symbol": plot.symbol(arm), "size": 8}
    line = plot.line(arm, list(x), list(y), mode="lines+markers", marker=markers, legendgroup=arm.label)
    return line | {"showlegend": legend} | more


def bars(arm: Arm, value: Iterable[float], low: Iterable[float], high: Iterable[float]) -> Json:
    """Return Plotly's `error_y`: bars from `low` to `high` about `value`."""
    ends = [(above - middle, middle - below) for middle, below, above in zip(value, low, high, strict=True)]
    array, minus = ([max(0.0, end) for end in side] for side in zip(*ends, strict=True)) if ends else ([], [])
    shape = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 4, "color": plot.colour(arm)}
    return shape | {"array": rounded(array), "arrayminus": rounded(minus)}
