"""Time series from a CSV file: the scaled values and the parts that forecasts are trained and judged on.

The protocol is that of Informer and Autoformer (arXiv 2012.07436, 2106.13008), by which published figures compare:
ETT has 12, 4 and 4 months of 30 days, other series 70, 10 and 20 %; every channel is scaled by the mean and the
deviation of its training part; the inputs of a part's first forecasts reach back into the part before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from titans_lab.data.files import Row, Signature, read_bytes, signature, table
from titans_lab.errors import UserError

ETT_CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
ETT_MONTHS = (12, 16, 20)  # ends of the parts; a month has 30 days, and what follows is not used
WANTED = "a CSV file (plain, gzip, bz2, xz or zstd) with a column `date` and then a column of numbers for each channel"

ROUNDING = 8 * np.finfo(np.float64).eps  # as a share of a channel's largest value
MOST_NAMED = 5  # channels in a warning
LARGEST_SCALED = 1e15  # whose square is far from float32's end, summed as well

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Series:
    """A table of numbers over time.

    Attributes:
        source: The path given, for people.
        digest: SHA-256 of the file's content, unpacked, in hex.
        channels: Names of the columns.
        values: `[rows, channels]`, float32, scaled by the training part; read-only.
        ends: Row after the last one of each of `PARTS`.
        constant: Names of the channels that have one value, but for rounding, in the training part.
    """

    source: str
    digest: str
    channels: tuple[str, ...]
    values: np.ndarray
    ends: tuple[int, int, int]
    constant: tuple[str, ...] = ()

    def without_cycle(self, period: int) -> Series:
        """Less each channel's mean profile over a cycle of so many rows, which the training part gives.

        Errors stay those of forecasts of the series itself: the profile is as much in a forecast as in the truth.
        UserError where the training part has no whole cycle.
        """
        train = self.ends[0]
        if period > train:
            raise UserError(f"task.series.cycle: {period} steps, and {self.source} has {train} to train on; lower it")
        place = np.arange(len(self.values)) % period
        profile = np.stack([self.values[:train][place[:train] == step].mean(0) for step in range(period)])
        return replace(self, values=self.values - profile[place])

    def windows(self, part: Part, look_back: int, horizon: int) -> np.ndarray:
        """Every window of a part, one a row `[windows, look_back + horizon, channels]`: a view, nothing is copied.

        UserError where the part has fewer rows than a window.
        """
        place = PARTS.index(part)
        begin = max(0, self.ends[place - 1] - look_back) if place else 0
        rows = self.values[begin : self.ends[place]]
        if len(rows) < look_back + horizon:
            raise UserError(
                f"data.path: {self.source}: its {part} part gives {len(rows)} rows, and a forecast takes {look_back} + "
                f"{horizon} (look-back and horizon); lower them or give a longer series"
            )
        windows = np.lib.stride_tricks.sliding_window_view(rows, look_back + horizon, axis=0)
        return windows.swapaxes(1, 2)


def load_series(path: str) -> Series:
    """Read, scale and split a file. UserError, naming the line, where it is not what `WANTED` says."""
    content = read_bytes(path, "data.path", WANTED)
    names, rows = table(content, path)
    if len(names) < 2 or names[0] != "date":
        raise UserError(f"{path}:1: the columns are {', '.join(names)}; give {WANTED}")
    dates, values = _cells(rows, names, path)
    ends = _ends(tuple(names[1:]), dates, path)
    _check_order(dates, path)
    values, varies = _scaled(values, ends[0], names[1:], path)
    values.flags.writeable = False
    constant = tuple(name for name, each in zip(names[1:], varies, strict=True) if not each)
    return Series(path, hashlib.sha256(content).hexdigest(), tuple(names[1:]), values, ends, constant)


def series_digest(path: str, look_back: int, horizon: int, cycle: int = 1) -> str:
    """`Series.digest` alone, with every check; remembered within a process while the file is unchanged."""
    return _measure(path, look_back, horizon, cycle, signature(path, "data.path", WANTED))[0]


def series_warnings(path: str, look_back: int, horizon: int, cycle: int = 1) -> list[str]:
    """Return a line where channels are constant in the training part: a forecast learns nothing of them there."""
    _, constant = _measure(path, look_back, horizon, cycle, signature(path, "data.path", WANTED))
    if not constant:
        return []
    more = f" and {len(constant) - MOST_NAMED} more" if len(constant) > MOST_NAMED else ""
    return [
        f"data.path: {path}: constant in the training part, and so not scaled: {', '.join(constant[:MOST_NAMED])}"
        f"{more}; leave these columns out unless they are meant"
    ]


@lru_cache(maxsize=64)
def _measure(path: str, look_back: int, horizon: int, cycle: int, _: Signature) -> tuple[str, tuple[str, ...]]:
    """Return digest and constant channels of the file with this signature."""
    series = load_series(path).without_cycle(cycle)
    for part in PARTS:
        series.windows(part, look_back, horizon)
    return series.digest, series.constant


def _cells(rows: Iterable[Row], names: Sequence[str], path: str) -> tuple[list[str], np.ndarray]:
    """The dates and the values `[rows, channels]`."""
    dates, values = [], []
    for line, (date, *cells) in rows:
        dates.append(date)
        values.append([_number(cell, name, f"{path}:{line}") for cell, name in zip(cells, names[1:], strict=True)])
    if len(values) < 2:
        raise UserError(f"{path}: {len(values)} rows of values; give {WANTED}")
    return dates, np.array(values)


def _number(cell: str, name: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{place}: {name}: {cell!r} is no finite number; fill it in or remove the line")
    return value


def _ends(channels: tuple[str, ...], dates: list[str], path: str) -> tuple[int, int, int]:
    """Row after the last one of each part."""
    rows = len(dates)
    if channels != ETT_CHANNELS:
        return int(rows * 0.7), rows - int(rows * 0.2), rows
    day = timedelta(days=1) // _step(dates, path)
    train, valid, test = (months * 30 * day for months in ETT_MONTHS)
    if rows < test:
        raise UserError(f"{path}: {rows} rows, and the parts of ETT are {test} rows together; fetch the whole file")
    return train, valid, test


def _step(dates: list[str], path: str) -> timedelta:
    """Time from the first row to the second."""
    first, second = (_date(text, f"{path}:{line}") for line, text in enumerate(dates[:2], 2))
    if not timedelta(0) < second - first <= timedelta(days=1):
        raise UserError(f"{path}:3: {dates[1]!r} does not follow {dates[0]!r} within a day; sort the lines by date")
    return second - first


def _date(text: str, place: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{place}: date: {text!r} is no date such as 2016-07-01 00:00:00; mend the line") from error


def _scaled(values: np.ndarray, train: int, channels: Sequence[str], path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values with mean 0 and deviation 1 over the first `train` rows, and which channels vary there.

    A channel that is constant there keeps its scale. Its range tells, as the rounding of the mean alone gives it a
    deviation above 0; numbers that differ by a few units in the last place count as equal.
    """
    part = values[:train]
    varies = np.ptp(part, 0) > ROUNDING * np.abs(part).max(0)
    scaled = (values - part.mean(0)) / np.where(varies, part.std(0), 1)
    if (large := np.abs(scaled).max(0) > LARGEST_SCALED).any():
        raise UserError(
            f"{path}: {channels[int(large.argmax())]}: reaches more than {LARGEST_SCALED:.0e} deviations of its "
            "training part, and squared errors of such values are no numbers; leave the column out"
        )
    return scaled.astype(np.float32), varies


def _check_order(dates: Sequence[str], path: str) -> None:
    """Raise UserError where dates go back, as in a file that has the newest first; those of no known form may."""
    times = _times(dates)
    back = [row for row in range(1, len(times)) if times[row] < times[row - 1]]
    if back:
        row = back[0]
        raise UserError(
            f"{path}:{row + 2}: date: {dates[row]!r} is before {dates[row - 1]!r} in the line above, as in {len(back)} "
            "of the lines; sort them by date, the oldest first"
        )


def _times(dates: Sequence[str]) -> list[Any]:
    """Return what orders the dates: times or numbers, whichever all of them are; empty where they are neither."""
    for read in (datetime.fromisoformat, float):
        with suppress(ValueError, TypeError):
            times = [read(date) for date in dates]
            sorted(times)  # a TypeError where some have a time zone and others none
            return times
    return []
