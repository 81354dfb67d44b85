"""Baseline forecasts in closed form: the last value repeated, and ridge regression.

Both see a window of one channel at a time `[look_back]`, with its last value taken off, and give the differences to it
(as NLinear does, arXiv 2205.13504); ridge has one matrix for all channels, and no intercept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

STRENGTH = 1e-3  # ridge penalty; it matters only where the inputs do not determine the matrix
ROWS = 8192  # windows of a channel at a time, because a product needs a copy of each

Forecast = Callable[[np.ndarray], np.ndarray]  # from differences [rows, look_back] to [rows, horizon]


class Errors(NamedTuple):
    """Mean squared and mean absolute error, over all windows, steps of the horizon and channels."""

    mse: float
    mae: float


def repeat_last(horizon: int) -> Forecast:
    """Return the forecast that repeats the last value over the horizon."""
    return lambda x: np.zeros((len(x), horizon))


def linear(weights: np.ndarray) -> Forecast:
    """Return the forecast x W, with W `[look_back, horizon]`."""
    return lambda x: x @ weights


def ridge(windows: np.ndarray, look_back: int, strength: float = STRENGTH) -> np.ndarray:
    """Return W `[look_back, horizon]` of least squares over windows `[windows, look_back + horizon, channels]`.

    Minimises the mean over windows of |y - x W|^2, plus `strength` |W|^2.
    """
    squares, products, rows = 0.0, 0.0, 0
    for x, y in _differences(windows, look_back):
        squares, products, rows = squares + x.T @ x, products + x.T @ y, rows + len(x)
    return np.linalg.solve(squares + strength * rows * np.eye(look_back), products)


def errors(forecast: Forecast, windows: np.ndarray, look_back: int) -> Errors:
    """Return the errors of a forecast over windows `[windows, look_back + horizon, channels]`."""
    sums = np.zeros(2)
    for x, y in _differences(windows, look_back):
        wrong = forecast(x) - y
        sums += np.square(wrong).sum(), np.abs(wrong).sum()
    steps = windows.shape[1] - look_back
    return Errors(*(sums / (len(windows) * steps * windows.shape[2])).tolist())


def _differences(windows: np.ndarray, look_back: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return inputs `[rows, look_back]` and targets `[rows, horizon]` minus the last input, float64, in batches."""
    for channel in range(windows.shape[2]):
        for begin in range(0, len(windows), ROWS):
            rows = windows[begin : begin + ROWS, :, channel].astype(np.float64)
            rows -= rows[:, look_back - 1 : look_back].copy()
            yield rows[:, :look_back], rows[:, look_back:]
