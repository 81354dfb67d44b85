"""Scales and ranges of axes, and the positions of values, groups and seeds in a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from titans_lab.report.arms import spell
from titans_lab.report.format import short

LOG_FROM = 8  # ratio of the largest value to the smallest from which the axis is logarithmic
MOST_TICKS = 8
CROWDED = 0.04  # share of the axis; values that are closer together get even steps instead
DODGE = 0.5  # share of the gap between neighbouring values that the groups at one value take up
MARGIN = 0.12  # share of the data's range that is free above and below
INTERVAL_ROOM = 1.5  # ranges of the dots by which intervals may extend the axis each way; longer ones are cut


@dataclass(frozen=True)
class Scale:
    """The values of a factor along an axis.

    Attributes:
        ticks: The places of the values along the axis, in their order.
        texts: The labels of the values.
        gap: The distance of the two closest ticks.
        numeric: Whether distances along the axis have a meaning.
    """

    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    gap: float
    numeric: bool

    @property
    def span(self) -> tuple[float, float]:
        """Return the axis' range, with room for the groups next to the outermost values."""
        return min(self.ticks) - 0.6 * self.gap, max(self.ticks) + 0.6 * self.gap


def scale(values: Sequence[Any]) -> Scale:
    """Return a linear or logarithmic scale for numbers, and else even steps in the given order.

    Numbers that would lie too close together also get even steps.
    """
    texts = tuple(spell(value) for value in values)
    places = _numeric_places(values)
    if places is None:
        return Scale(tuple(float(place) for place in range(len(values))), texts, 1.0, numeric=False)
    return Scale(places, texts, _closest(places), numeric=True)


def _numeric_places(values: Sequence[Any]) -> tuple[float, ...] | None:
    if len(values) < 2 or not all(type(value) in (int, float) for value in values):
        return None
    by_ratio = min(values) > 0 and max(values) / min(values) >= LOG_FROM
    places = tuple(math.log10(value) if by_ratio else float(value) for value in values)
    return places if _closest(places) >= CROWDED * (max(places) - min(places)) else None


def _closest(places: Sequence[float]) -> float:
    ordered = sorted(places)
    return min(right - left for left, right in pairwise(ordered))


def octaves(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at powers of two, few enough for a phone."""
    known = [value for value in values if value > 0]
    low, high = math.floor(math.log2(min(known))), math.ceil(math.log2(max(known)))
    step = max(1, math.ceil((high - low) / MOST_TICKS))
    ticks = [2**power for power in range(low, high + 1, step)]
    return {"type": "log", "tickvals": ticks, "ticktext": [tokens(tick) for tick in ticks]}


def decades(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at 1, 2 and 5 of every power of ten, or fewer."""
    known = [value for value in values if value > 0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        every = [step * 10.0**power for power in range(low, high + 1) for step in steps]
        ticks = [tick for tick in every if min(known) * 0.7 <= tick <= max(known) * 1.4]
        if len(ticks) <= MOST_TICKS:
            break
    thinned = ticks[:: math.ceil(len(ticks) / MOST_TICKS)]
    return {"type": "log", "tickvals": thinned, "ticktext": [short(tick) for tick in thinned]}


def tokens(count: float) -> str:
    """Return a length with a binary prefix, such as 512, 2K or 1M."""
    for suffix, size in (("M", 2**20), ("K", 2**10)):
        if count >= size and count % size == 0:
            return f"{count / size:g}{suffix}"
    return f"{count:g}"


def dodge(index: int, count: int, gap: float) -> float:
    """Return the offset of the `index`-th of `count` groups from its value on the axis."""
    return gap * DODGE * ((index + 0.5) / count - 0.5) if count > 1 else 0.0


def spread(count: int, groups: int, gap: float) -> list[float]:
    """Return small offsets that keep the dots of `count` seeds apart within the room of one of `groups`."""
    step = gap * min(0.03, 0.6 * DODGE / groups / count) if count else 0.0
    return [step * (index - (count - 1) / 2) for index in range(count)]


def score_range(scores: Sequence[float], ends: Sequence[float]) -> tuple[float, float]:
    """Return the range of an axis with all `scores`, and the `ends` of intervals as far as there is room."""
    low, high = min(scores), max(scores)
    span = (high - low) or 0.1 * abs(low) or 1.0
    inside = [min(max(end, low - INTERVAL_ROOM * span), high + INTERVAL_ROOM * span) for end in ends]
    low, high = min([low, *inside]), max([high, *inside])
    margin = MARGIN * ((high - low) or span)
    return low - margin, high + margin


def with_ngram_baselines(span: tuple[float, float], baselines: Sequence[float]) -> tuple[float, float]:
    """Return `span`, widened to include the n-gram baselines within half its height of it."""
    low, high = span
    height = high - low
    near = [baseline for baseline in baselines if low - height / 2 <= baseline <= high + height / 2]
    margin = MARGIN / 2 * height
    return min([low, *(baseline - margin for baseline in near)]), max([high, *(baseline + margin for baseline in near)])
