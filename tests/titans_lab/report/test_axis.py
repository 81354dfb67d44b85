from __future__ import annotations

import math

import pytest

from titans_lab.report.axis import dodge, scale, score_range, spread, with_ngram_baselines


def test_numbers_stand_at_their_distance():
    assert scale((1, 2, 4)).ticks == (1, 2, 4)
    assert scale((1, 2, 4)).numeric


def test_numbers_of_several_octaves_stand_by_their_ratio():
    where = scale((4, 16, 64))
    assert where.ticks == pytest.approx([math.log10(value) for value in (4, 16, 64)])
    assert where.texts == ("4", "16", "64")
    assert where.gap == pytest.approx(math.log10(4))


@pytest.mark.parametrize("values", [("lmm", "mac"), (True, False), (None, 0.1), (0, 1, 2, 1000), (3,)])
def test_all_else_stands_evenly_in_the_order_given(values: tuple):
    assert scale(values).ticks == tuple(range(len(values)))
    assert not scale(values).numeric


def test_groups_and_their_seeds_keep_apart():
    centers = [dodge(group, 4, gap=1.0) for group in range(4)]
    seeds = [center + offset for center in centers for offset in spread(8, 4, gap=1.0)]
    assert seeds == sorted(seeds)
    assert max(map(abs, seeds)) < 0.5
    assert sum(centers) == pytest.approx(0)
    assert dodge(0, 1, gap=1.0) == 0


def test_every_loss_is_in_range_and_wide_intervals_are_cut():
    low, high = score_range([2.0, 2.1], [1.95, 2.15])
    assert low < 1.95
    assert high > 2.15
    low, high = score_range([2.0, 2.1], [-10, 14])
    assert -1 < low < 2
    assert 2.1 < high < 3


def test_a_single_loss_has_a_range():
    low, high = score_range([2.0], [])
    assert low < 2 < high


def test_a_near_ngram_baseline_is_let_in_and_a_far_one_does_not_squash_the_dots():
    assert with_ngram_baselines((2.0, 3.0), [4.7, 0.1]) == (2.0, 3.0)
    low, high = with_ngram_baselines((2.0, 3.0), [1.8, 3.2])
    assert low < 1.8
    assert high > 3.2
