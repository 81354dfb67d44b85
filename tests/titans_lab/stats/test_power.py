from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from titans_lab.stats.power import pooled_sd, smallest_difference


@pytest.mark.parametrize(("seeds", "arms"), [(3, 1), (5, 1), (5, 6), (10, 3)])
def test_a_difference_of_that_size_is_found_in_80_of_100_studies(seeds: int, arms: int):
    shift = smallest_difference(0.02, seeds, arms)
    differences = np.random.default_rng(0).normal(shift, 0.02, (20_000, seeds))
    p = stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert np.mean(p < 0.05 / arms) == pytest.approx(0.8, abs=0.012)


def test_more_seeds_find_less_and_more_arms_need_more():
    by_seeds = [smallest_difference(1.0, seeds, 4) for seeds in (2, 3, 5, 8, 20, 100)]
    assert by_seeds == sorted(by_seeds, reverse=True)  # type: ignore[type-var]
    assert smallest_difference(1.0, 5, 8) > smallest_difference(1.0, 5, 2)  # type: ignore[operator]
    assert smallest_difference(3.0, 5) == pytest.approx(3 * smallest_difference(1.0, 5))  # type: ignore[operator]


def test_two_seeds_need_what_the_ratio_of_two_normals_says():
    critical, beyond = stats.t.ppf(1 - 0.05 / 20 / 2, 1), stats.norm.ppf(0.995)
    assert smallest_difference(1.0, 2, 20, power=0.99) == pytest.approx(critical * beyond / 2**0.5, rel=0.01)


def test_one_seed_finds_nothing():
    assert smallest_difference(1.0, 1) is None


@pytest.mark.parametrize("wrong", [{"sd": 0.0}, {"arms": 0}, {"power": 1.0}, {"sd": float("nan")}])
def test_numbers_that_are_not_above_0_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="not above 0"):
        smallest_difference(**({"sd": 1.0, "seeds": 3} | wrong))  # type: ignore[arg-type]


def test_the_standard_deviation_is_pooled_over_arms():
    assert pooled_sd([[1.0, 3.0], [10.0, 10.0, 13.0], [5.0]]) == pytest.approx(np.sqrt((2 + 6) / 3))
    assert pooled_sd([[1.0], []]) is None
