from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from draws import generator
from shared_data import shared

from titans_lab.data.series import ETT_CHANNELS, PARTS, load_series, series_digest
from titans_lab.errors import UserError

Write = Callable[..., str]


def rows(count: int, columns: int, step: timedelta = timedelta(hours=1)) -> list[str]:
    """Lines of a table whose every value is different."""
    begin = datetime(2016, 7, 1)
    return [f"{begin + i * step},{','.join(str(i * columns + c) for c in range(columns))}" for i in range(count)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(lines: list[str], channels: tuple[str, ...] = ("a", "b")) -> str:
        path = tmp_path / "series.csv"
        path.write_text("\n".join((",".join(("date", *channels)), *lines)) + "\n")
        return str(path)

    return make


def test_the_parts_of_other_series_are_70_10_and_20_percent(write: Write):
    assert load_series(write(rows(103, 2))).ends == (72, 83, 103)


@pytest.mark.parametrize(("step", "a_day"), [(timedelta(hours=1), 24), (timedelta(hours=6), 4)])
def test_the_parts_of_ett_are_months_of_30_days_and_the_rest_is_not_used(write: Write, step: timedelta, a_day: int):
    series = load_series(write(rows(20 * 30 * a_day + 5, 7, step), ETT_CHANNELS))
    assert series.ends == (360 * a_day, 480 * a_day, 600 * a_day)


def test_every_channel_is_scaled_by_its_training_part(write: Write):
    random = generator()
    table = random.normal(3, 20, (100, 2))
    lines = [f"2020-01-01,{a},{b}" for a, b in table.tolist()]
    expected = (table - table[:70].mean(0)) / table[:70].std(0)
    np.testing.assert_allclose(load_series(write(lines)).values, expected, rtol=1e-5, atol=1e-6)


def test_a_constant_channel_is_0(write: Write):
    lines = [f"2020-01-01,{i},7" for i in range(20)]
    assert (load_series(write(lines)).values[:, 1] == 0).all()


def test_a_channel_that_is_constant_but_for_rounding_keeps_its_scale(write: Write):
    series = load_series(write([f"2020-01-01,{i % 5},{14.62 if i < 480 else 14.72}" for i in range(600)]))
    assert np.full((420, 2), 14.62).std(0).all()  # the mean is rounded
    assert np.abs(series.values[:420, 1]).max() < 1e-6
    np.testing.assert_allclose(series.values[480:, 1], 0.1, rtol=1e-6)


def test_values_whose_squares_are_no_numbers_are_refused(write: Write):
    with pytest.raises(UserError, match=r"b: reaches more than 1e\+15 deviations .*leave the column"):
        load_series(write([f"2020-01-01,{i % 5},{7 if i < 480 else 1e30}" for i in range(600)]))


@pytest.mark.parametrize("dates", [["1", "2", "10", "11"], ["01/02", "x", "", "a"], ["2020-01-01"] * 4])
def test_dates_in_order_or_of_no_known_form_are_taken_as_they_are(write: Write, dates: list[str]):
    assert len(load_series(write([f"{date},{i},{i % 3}" for i, date in enumerate(dates)])).values) == 4


def test_windows_cover_each_part_once_and_only_their_inputs_reach_back(write: Write):
    series = load_series(write(rows(100, 2)))
    for part, begin, end in zip(PARTS, (0, 70, 80), (70, 80, 100), strict=True):
        windows = series.windows(part, 5, 3)
        first = max(begin, 5)  # of what is forecast
        assert windows.shape == (end - first - 2, 8, 2)
        np.testing.assert_array_equal(windows[0], series.values[first - 5 : first + 3])
        np.testing.assert_array_equal(windows[-1], series.values[end - 8 : end])
    assert not series.values.flags.writeable


def test_a_cycle_is_the_mean_profile_of_the_training_part(write: Write):
    series = load_series(write([f"2020-01-01,{i % 4},{i % 4 + i % 3}" for i in range(100)]))
    bare = series.without_cycle(4)
    np.testing.assert_allclose(bare.values[:, 0], 0, atol=1e-6)
    for step in range(4):
        profile = series.values[step:70:4, 1].mean()
        np.testing.assert_allclose(bare.values[step::4, 1], series.values[step::4, 1] - profile, atol=1e-6)
    assert bare.ends == series.ends
    with pytest.raises(UserError, match=r"^task\.series\.cycle: 71 steps, and .* has 70 to train on; lower it"):
        series.without_cycle(71)
    np.testing.assert_allclose(series.without_cycle(1).values, series.values, atol=1e-6)  # scaled: its mean is 0


def test_the_digest_is_of_the_content_and_gzip_makes_no_difference(write: Write, tmp_path: Path):
    plain = write(rows(60, 2))
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    assert load_series(plain).digest == load_series(str(packed)).digest == series_digest(plain, 2, 1)
    before = series_digest(plain, 2, 1)
    Path(plain).write_text(Path(plain).read_text().replace(",41", ",42"))
    os.utime(plain, ns=(0, 1))
    assert series_digest(plain, 2, 1) != before


def test_ett_is_read_as_published():
    series = load_series(shared("ett/ETTh1.csv"))
    assert series.channels == ETT_CHANNELS
    assert series.ends == (8640, 11520, 14400)
    assert series.windows("test", 96, 96).shape == (2785, 192, 7)


@pytest.mark.parametrize(
    ("lines", "channels", "message"),
    [
        (["2020-01-01,1"], ("a", "b"), r"series\.csv:2: 2 cells, and the header names 3 columns; complete or remove"),
        (["2020-01-01,1,2", "2020-01-02,1,"], ("a", "b"), r"series\.csv:3: b: '' is not a finite number; fill it in"),
        (["2020-01-01,1,2", "2020-01-02,x,2"], ("a", "b"), r"series\.csv:3: a: 'x' is not a finite number"),
        (["2020-01-01,nan,2"], ("a", "b"), r"series\.csv:2: a: 'nan' is not a finite number"),
        (["2020-01-01"], (), r"series\.csv:1: the columns are date; give a CSV file.* a column `date`"),
        ([], ("a",), r"series\.csv: 0 rows of values; give a CSV"),
        (rows(50, 7), ETT_CHANNELS, r"series\.csv: 50 rows, and the parts of ETT are 14400 rows together; fetch"),
        (["July,1,2,3,4,5,6,7", *rows(1, 7)], ETT_CHANNELS, r"series\.csv:2: date: 'July' is not a date such as 2016-"),
        (rows(2, 7)[::-1], ETT_CHANNELS, r"series\.csv:3: '2016-07-01 00:00:00' does not follow .*; sort the lines"),
    ],
)  # fmt: skip
def test_a_bad_table_is_refused_with_its_line(write: Write, lines: list[str], channels: tuple[str, ...], message: str):
    with pytest.raises(UserError, match=message):
        load_series(write(lines, channels))


def test_a_table_without_dates_is_refused(tmp_path: Path):
    path = tmp_path / "series.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"series\.csv:1: the columns are a, b; give .* a column `date`"):
        load_series(str(path))


@pytest.mark.parametrize(("look_back", "horizon", "part"), [(20, 11, "valid"), (11, 1, "train"), (1, 3, "valid")])
def test_a_part_that_is_shorter_than_a_window_is_refused(write: Write, look_back: int, horizon: int, part: str):
    path = write(rows({(20, 11): 100, (11, 1): 16, (1, 3): 20}[look_back, horizon], 2))
    message = rf"data\.path: .*its {part} part gives \d+ rows, .* {look_back} \+ {horizon} .*lower them"
    with pytest.raises(UserError, match=message):
        series_digest(path, look_back, horizon)
