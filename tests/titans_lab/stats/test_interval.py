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


def test_one_value_has_no_spread_and_overlaps_everything():
    one, two = summarise([1.0]), summarise([50.0, 50.1])
    assert (one.mean, one.sd, one.half_width) == (1.0, None, None)
    assert one.overlaps(two)
    assert two.overlaps(one)


def test_intervals_overlap_where_they_share_a_value():
    low, middle, high = (summarise([center - 0.1, center, center + 0.1]) for center in (1.0, 1.3, 1.6))
    assert low.overlaps(middle)
    assert middle.overlaps(low)
    assert not low.overlaps(high)
    assert not high.overlaps(low)


def test_nothing_has_no_summary():
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([])
