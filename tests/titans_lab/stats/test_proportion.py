from __future__ import annotations

import pytest
from scipy.stats import binomtest

from titans_lab.stats.proportion import wilson


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (1, 1), (0, 25), (25, 25), (7, 40), (499, 500)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_it_is_scipys(successes: int, count: int, level: float):
    expected = binomtest(successes, count).proportion_ci(level, method="wilson")
    assert wilson(successes, count, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_are_no_share_are_refused(successes: int, count: int):
    with pytest.raises(ValueError, match=f"{successes} of {count} is not a share"):
        wilson(successes, count)
