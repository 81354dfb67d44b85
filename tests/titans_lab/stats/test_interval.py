from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from titans_lab.stats.interval import summarise


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_interval_is_that_of_student(n: int):
    values = np.random.default_rng(n).normal(2, 0.1, n)
    summary = summarise(values)
    low, high = scipy.stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx((low, high), rel=1e-12)
    assert (summary.n, summary.sd) == (n, pytest.approx(values.std(ddof=1)))


def test_the_interval_covers_what_it_says_with_three_seeds():
    draws = np.random.default_rng(0).normal(0, 1, (2000, 3))
    covered = np.mean([summary.low <= 0 <= summary.high for summary in map(summarise, draws)])
    assert 0.93 < covered < 0.97


def test_one_value_has_no_spread_and_an_unbounded_interval():
    one = summarise([1.0])
    assert (one.mean, one.sd, one.half_width) == (1.0, None, None)
    assert (one.low, one.high) == (-np.inf, np.inf)


def test_nothing_has_no_summary():
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([])
