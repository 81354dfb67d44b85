"""Formatting of numbers and lists for readers."""

from __future__ import annotations

from collections.abc import Sequence

from titans_lab import quantities
from titans_lab.durations import spell_duration
from titans_lab.stats.interval import Summary

NONE = "–"


def score(value: float | None) -> str:
    """Return a loss or another metric with three digits."""
    return NONE if value is None else f"{value:.3f}"


def plus_minus(summary: Summary) -> str:
    """Return the mean with half of its interval, or alone for one value."""
    return score(summary.mean) + (f" ± {summary.half_width:.3f}" if summary.half_width is not None else "")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign."""
    return NONE if value is None else f"{value:+.{digits}f}"


def with_interval(mean: float, half_width: float | None, unit: str, *more: str) -> str:
    """Return a difference in a sentence: "-0.559 bits per byte (95 % CI -0.634 to -0.484, 3 seeds)".

    Args:
        mean: The difference.
        half_width: Half of its interval; None where there is none.
        unit: The unit of the difference.
        more: Further entries in the parentheses.
    """
    known = [] if half_width is None else [f"95 % CI {mean - half_width:+.3g} to {mean + half_width:+.3g}"]
    inside = ", ".join((*known, *more))
    return f"{mean:+.3g} {unit}" + (f" ({inside})" if inside else "")


def p_value(p: float | None) -> str:
    """Return a p-value with three digits after the point."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def integer(value: float | None) -> str:
    """Return an integer with commas between thousands."""
    return NONE if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Return three digits and an SI prefix: 1.23M."""
    return NONE if value is None else quantities.count(value)


def memory(size: float | None) -> str:
    """Return bytes in KiB, MiB or GiB."""
    return NONE if size is None else quantities.memory(size)


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units."""
    return NONE if seconds is None else spell_duration(seconds)


def join(words: Sequence[str], most: int = 4) -> str:
    """Return words as a list in a sentence, such as "a, b and c". Words beyond `most` are only counted."""
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
