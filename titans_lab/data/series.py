"""Read a time series from a CSV file, scale it, and split it into parts.

The protocol is that of Informer and Autoformer (arXiv 2012.07436, 2106.13008), so that results compare with published
ones. The parts of ETT have 12, 4 and 4 months of 30 days, those of other series 70, 10 and 20 %. Every channel is
scaled by mean and standard deviation of its training part. The inputs of a part's first forecasts reach into the part
before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from titans_lab.data.files import Row, Signature, read_bytes, signature, table
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError

ETT_CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
ETT_MONTHS = (12, 16, 20)  # ends of the parts in months of 30 days; later rows are not used
WANTED = "a CSV file (plain, gzip, bz2, xz or zstd) with a column `date` and then a column of numbers for each channel"

ROUNDING = 8 * np.finfo(np.float64).eps  # largest range of a constant channel, as a share of its largest value
MOST_NAMED = 5  # the most channels in a warning
LARGEST_SCALED = 1e15  # sums of its square are far below the largest float32


@dataclass(frozen=True, eq=False)
class Series:
    """A table of numbers over time.

    Attributes:
        source: The path of the file.
        digest: The SHA-256 of the file's unpacked content, in hex.
        channels: The names of the columns.
        values: The scaled values `[rows, channels]`, float32, read-only.
        ends: The end of each of `PARTS`, as a row.
        constant: The names of the channels that are constant, up to rounding, in the training part.
    """

    source: str
    digest: str
    channels: tuple[str, ...]
    values: np.ndarray
    ends: tuple[int, int, int]
    constant: tuple[str, ...] = ()

    def without_cycle(self, period: int) -> Series:
        """Subtract each channel's mean profile over a cycle of `period` rows, computed on the training part.

        Errors stay those of the series itself, because the profile is part of both the forecast and the truth.
        Raise UserError where the training part has no whole cycle.
        """
        train = self.ends[0]
        if period > train:
            raise UserError(f"task.series.cycle: {period} steps, and {self.source} has {train} to train on; lower it")
        place = np.arange(len(self.values)) % period
        profile = np.stack([self.values[:train][place[:train] == step].mean(0) for step in range(period)])
        return replace(self, values=self.values - profile[place])

    def windows(self, part: Part, look_back: int, horizon: int) -> np.ndarray:
        """Return every window of a part `[windows, look_back + horizon, channels]`, as a view without a copy.

        Raise UserError where the part has fewer rows than a window.
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
    """Read, scale and split a file. Raise UserError, with the line, where the file is not what `WANTED` says."""
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
    """Return `Series.digest` only, with every check. It is cached in the process while the file is unchanged."""
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
    """Return the dates and the values `[rows, channels]`."""
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
        raise UserError(f"{place}: {name}: {cell!r} is not a finite number; fill it in or remove the line")
    return value


def _ends(channels: tuple[str, ...], dates: list[str], path: str) -> tuple[int, int, int]:
    """Return the end of each part, as a row."""
    rows = len(dates)
    if channels != ETT_CHANNELS:
        return int(rows * 0.7), rows - int(rows * 0.2), rows
    day = timedelta(days=1) // _step(dates, path)
    train, valid, test = (months * 30 * day for months in ETT_MONTHS)
    if rows < test:
        raise UserError(f"{path}: {rows} rows, and the parts of ETT are {test} rows together; fetch the whole file")
    return train, valid, test


def _step(dates: list[str], path: str) -> timedelta:
    """Return the time from the first row to the second."""
    first, second = (_date(text, f"{path}:{line}") for line, text in enumerate(dates[:2], 2))
    if not timedelta(0) < second - first <= timedelta(days=1):
        raise UserError(f"{path}:3: {dates[1]!r} does not follow {dates[0]!r} within a day; sort the lines by date")
    return second - first


def _date(text: str, place: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{place}: date: {text!r} is not a date such as 2016-07-01 00:00:00; mend the line") from error


def _scaled(values: np.ndarray, train: int, channels: Sequence[str], path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values with mean 0 and deviation 1 over the first `train` rows, and which channels vary there.

    A channel that is constant in these rows keeps its scale. The range decides whether it is constant, because rounding
    of the mean alone gives a deviation above 0. Values that differ by a few units in the last place count as equal.
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
    """Raise UserError where dates decrease, as in a file with the newest row first. Unknown formats are not checked."""
    times = _times(dates)
    back = [row for row in range(1, len(times)) if times[row] < times[row - 1]]
    if back:
        row = back[0]
        raise UserError(
            f"{path}:{row + 2}: date: {dates[row]!r} is before {dates[row - 1]!r} in the line above, as in {len(back)} "
            "of the lines; sort them by date, the oldest first"
        )


def _times(dates: Sequence[str]) -> list[Any]:
    """Return the dates as times or numbers, if all of them are, else an empty list."""
    for read in (datetime.fromisoformat, float):
        with suppress(ValueError, TypeError):
            times = [read(date) for date in dates]
            sorted(times)  # raises TypeError if only some have a time zone
            return times
    return []
