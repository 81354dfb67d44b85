"""Parse and format durations such as 30s, 15m, 2h and 1h30m."""

from __future__ import annotations

import math
import re
from datetime import datetime

SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
#: Each unit occurs at most once, larger units first. The number of digits is limited so that a float can hold them.
WRITTEN = re.compile("".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?){unit})?" for unit in SECONDS), re.ASCII)


def parse_duration(text: str) -> float:
    """Return a duration in seconds. A number needs a unit, because a bare number could be read as minutes.

    Raises:
        ValueError: The text is not a duration above 0. The message says what to write.
    """
    match = WRITTEN.fullmatch(text)
    parts = match.groups() if match else ()
    seconds = sum(float(part) * unit for part, unit in zip(parts, SECONDS.values(), strict=False) if part)
    if seconds > 0:
        return seconds
    if re.fullmatch(r"\d{1,9}", text) and int(text):
        raise ValueError(f"{text} has no unit; write {text}s, {text}m or {text}h")
    raise ValueError(f'"{text[:60]}" is not a duration; write 30s, 15m, 2h or 1h30m')


def parse_end(text: str, now: datetime) -> float:
    """Return the seconds from now until an end that is given as a duration, or as a time such as 2026-11-30T18:00.

    Args:
        text: The duration, or an ISO 8601 time, local where it names no zone.
        now: The time now, with its zone.

    Raises:
        ValueError: The text is neither, or the time is past. The message says what to write.
    """
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        return parse_duration(text)
    seconds = (end.astimezone() - now).total_seconds()
    if seconds <= 0:
        raise ValueError(f"{text} is past; it is {now.astimezone().isoformat(timespec='seconds')}")
    return seconds


def spell_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: 3s, 4m05s, 2h10m; "?" where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
