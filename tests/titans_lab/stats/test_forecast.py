from __future__ import annotations

import numpy as np
import pytest
from draws import generator
from shared_data import shared

from titans_lab.data.series import load_series
from titans_lab.stats import forecast
from titans_lab.stats.forecast import Errors, errors, linear, repeat_last, ridge

HORIZONS = (96, 192, 336, 720)


def windows(count: int = 50, length: int = 7, channels: int = 3) -> np.ndarray:
    return generator().normal(size=(count, length, channels)).astype(np.float32)


def test_errors_are_means_over_windows_steps_and_channels(monkeypatch):
    monkeypatch.setattr(forecast, "ROWS", 8)
    some = windows().astype(np.float64)
    wrong = some[:, 4:] - some[:, 3:4]
    assert errors(repeat_last(3), some, 4) == pytest.approx((np.square(wrong).mean(), np.abs(wrong).mean()))


def test_ridge_is_the_least_squares_solution_over_all_channels(monkeypatch):
    monkeypatch.setattr(forecast, "ROWS", 8)
    some, strength = windows(), 0.3
    flat = some.transpose(2, 0, 1).reshape(-1, 7).astype(np.float64)
    flat = flat - flat[:, 3:4]
    penalty = np.sqrt(strength * len(flat)) * np.eye(4)  # least squares with the penalty as further rows
    expected = np.linalg.lstsq(
        np.vstack((flat[:, :4], penalty)), np.vstack((flat[:, 4:], np.zeros((4, 3)))), rcond=None
    )[0]
    np.testing.assert_allclose(ridge(some, 4, strength), expected, rtol=1e-8, atol=1e-10)


def test_ridge_finds_a_linear_law():
    time = np.arange(400)
    wave = np.lib.stride_tricks.sliding_window_view(np.sin(time / 5) + np.sin(time / 3), 20)[..., None]
    assert (
        errors(linear(ridge(wave[:200], 12, 1e-9)), wave[200:], 12).mae
        < 1e-3
        < errors(repeat_last(8), wave[200:], 12).mae
    )


def test_repeating_the_last_value_gives_the_published_errors_of_ett():
    """These pin split, scaling and windows: with a border or a window off by one they are others."""
    for name, expected in {"ETTh1.csv": (1.294, 0.713), "ETTm1.csv.gz": (1.214, 0.665)}.items():
        some = load_series(shared(f"ett/{name}")).windows("test", 96, 96)
        assert errors(repeat_last(96), some, 96) == pytest.approx(expected, abs=5e-4)


def test_ridge_on_ett():
    series = load_series(shared("ett/ETTh1.csv"))
    fitted = {h: linear(ridge(series.windows("train", 96, h), 96)) for h in HORIZONS}
    found = [errors(forecast, series.windows("test", 96, h), 96) for h, forecast in fitted.items()]
    assert Errors(*np.mean(found, 0)) == pytest.approx((0.4383, 0.4272), abs=2e-4)
