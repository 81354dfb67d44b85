from __future__ import annotations

import numpy as np
import pytest
from draws import generator
from scipy import stats

from titans_lab.stats.rank import agreement, kendall_tau

PAPER = {"whole": 27.01, "linear": 28.49, "no convolution": 28.73, "no momentum": 28.98, "no decay": 29.04}


def arms(*means: float, noise: float = 0.0, seeds: int = 3) -> dict[str, dict[int, float]]:
    generator = np.random.default_rng(0)
    return {
        name: {seed: mean + noise * generator.normal() for seed in range(seeds)}
        for name, mean in zip(PAPER, means, strict=True)
    }


def test_tau_is_scipys_with_ties_too():
    x, y = generator().integers(0, 4, (2, 9))
    assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_the_same_order_and_the_reverse():
    assert agreement(arms(1, 2, 3, 4, 5), PAPER).tau == 1
    assert agreement(arms(5, 4, 3, 2, 1), PAPER).tau == -1
    assert agreement(arms(5, 4, 3, 2, 1), PAPER, same_direction=False).tau == 1
    assert agreement(arms(1, 2, 3, 5, 4), PAPER).tau == pytest.approx(0.8)


def test_the_interval_comes_from_the_seeds():
    sure = agreement(arms(1, 2, 3, 4, 5, noise=0.01), PAPER).interval
    unsure = agreement(arms(1, 2, 3, 4, 5, noise=2.0), PAPER).interval
    assert sure is not None
    assert unsure is not None
    assert (sure.low, sure.high) == (1, 1)
    assert unsure.low < 0.6


def test_a_shift_that_a_seed_gives_to_all_arms_moves_nothing():
    shifted = {name: {seed: mean + 100 * seed for seed in range(3)} for mean, name in enumerate(PAPER)}
    interval = agreement(shifted, PAPER).interval
    assert interval is not None
    assert interval.low == 1


def test_one_seed_has_an_order_and_no_interval():
    assert agreement(arms(1, 2, 3, 5, 4, seeds=1), PAPER).interval is None


def test_only_arms_that_both_have_count_and_two_are_no_order():
    ours = arms(1, 2, 3, 4, 5) | {"ours alone": {0: 1.0}, "no decay": {}}
    assert agreement(ours, PAPER).arms == ("whole", "linear", "no convolution", "no momentum")
    with pytest.raises(ValueError, match="2 arms in common"):
        agreement({"whole": {0: 1.0}, "linear": {0: 2.0}, "other": {0: 3.0}}, PAPER)
