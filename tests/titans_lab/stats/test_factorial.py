from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from titans_lab.stats.crossing import CrossedFactor, Crossing
from titans_lab.stats.factorial import effects, repeated_measures_p
from titans_lab.stats.paired import Sample, holm
from titans_lab.stats.power import smallest_difference
from titans_lab.stats.simulate import factorial

MOMENTUM, CHUNK = CrossedFactor("momentum", (True, False)), CrossedFactor("chunk", (8, 16))
#: Values of three seeds in the cells (on, 8), (on, 16), (off, 8), (off, 16).
TWO_BY_TWO = {(0, 0): [2.0, 2.1, 2.2], (0, 1): [2.3, 2.5, 2.4], (1, 0): [2.6, 2.5, 2.7], (1, 1): [2.8, 3.0, 2.9]}


def crossed(cells, *factors, diverged=None) -> Crossing:
    diverged = diverged or {}
    samples = {
        cell: Sample({seed: value for seed, value in enumerate(values) if value is not None}, diverged.get(cell, 0))
        for cell, values in cells.items()
    }
    return Crossing(factors, samples)


def test_effects_of_two_by_two_are_those_computed_by_hand():
    momentum, chunk, both = effects(crossed(TWO_BY_TWO, MOMENTUM, CHUNK))
    assert [effect.factors for effect in (momentum, chunk, both)] == [(0,), (1,), (0, 1)]
    # off - on, averaged over the chunk sizes: seed 0 has ((2.6 - 2.0) + (2.8 - 2.3)) / 2 = 0.55
    assert momentum.contrasts[0].by_seed == pytest.approx([0.55, 0.45, 0.5])
    assert chunk.contrasts[0].by_seed == pytest.approx([0.25, 0.45, 0.2])
    # (2.8 - 2.3) - (2.6 - 2.0) = -0.1
    assert both.contrasts[0].by_seed == pytest.approx([-0.1, 0.1, 0.0])
    for effect in (momentum, chunk, both):
        (only,) = effect.contrasts
        test = stats.ttest_1samp(only.by_seed, 0)
        assert effect.p == pytest.approx(test.pvalue)
        assert only.mean == pytest.approx(np.mean(only.by_seed))
        low, high = test.confidence_interval(0.95)
        assert only.half_width == pytest.approx((high - low) / 2)
        assert effect.detectable == pytest.approx(smallest_difference(np.std(only.by_seed, ddof=1), 3, 3))
    assert [effect.adjusted for effect in (momentum, chunk, both)] == pytest.approx(
        holm([effect.p for effect in (momentum, chunk, both)])
    )
    assert [effect.verdict for effect in (momentum, chunk, both)] == ["significant", "inconclusive", "inconclusive"]


def test_several_levels_are_tested_together_by_the_corrected_repeated_measures_anova():
    # Seeds x levels. The sums of squares are those of the textbook, epsilon that of the centred covariance (Box 1954).
    table = np.array([[3.0, 5.0, 9.0], [4.0, 6.0, 8.0], [2.0, 6.0, 7.0], [5.0, 8.0, 9.0], [3.0, 6.0, 8.0]])
    helmert = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    n, k = table.shape
    levels = n * np.sum((table.mean(0) - table.mean()) ** 2)
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    statistic = levels / (k - 1) / (np.sum(rest**2) / ((k - 1) * (n - 1)))
    covariance = np.cov(table.T)
    centred = covariance - covariance.mean(0) - covariance.mean(1, keepdims=True) + covariance.mean()
    epsilon = np.trace(centred) ** 2 / ((k - 1) * np.sum(centred**2))
    expected = stats.f.sf(statistic, epsilon * (k - 1), epsilon * (k - 1) * (n - 1))
    assert repeated_measures_p(helmert @ table.T) == pytest.approx(expected)


def test_a_numeric_factor_has_the_slope_per_doubling():
    cells = {
        (i, j): [2 + i + 0.3 * j + 0.01 * noise for noise in (0, j, 2 - i)] for i, j in product(range(2), range(4))
    }
    factors = CrossedFactor("momentum", (True, False)), CrossedFactor("chunk", (8, 16, 32, 64))
    momentum, chunk, both = effects(crossed(cells, *factors))
    assert momentum.trend is None
    means = np.array([[np.mean([cells[i, j][seed] for i in range(2)]) for j in range(4)] for seed in range(3)])
    slopes = [stats.linregress([3, 4, 5, 6], row).slope for row in means]
    assert chunk.trend is not None
    assert chunk.trend.by_seed == pytest.approx(slopes)
    assert len(chunk.contrasts) == len(both.contrasts) == 3
    assert both.trend is not None  # how the slope changes without momentum
    lines = [
        [stats.linregress([3, 4, 5, 6], [cells[i, j][seed] for j in range(4)]).slope for i in (0, 1)]
        for seed in range(3)
    ]
    assert both.trend.by_seed == pytest.approx([off - on for on, off in lines], abs=1e-12)
    every = [*chunk.contrasts, chunk.trend, *both.contrasts, both.trend]
    assert [each.adjusted for each in every] == pytest.approx(holm([each.p for each in every]))


def test_a_level_of_0_has_a_slope_per_unit():
    cells = {(i, j): [float(10 * i + 2 * j + seed * j) for seed in range(3)] for i, j in product(range(2), range(3))}
    factors = CrossedFactor("variant", ("lmm", "mac")), CrossedFactor("tokens", (0, 1, 2))
    _, tokens, _ = effects(crossed(cells, *factors))
    assert tokens.trend is not None
    assert tokens.trend.by_seed == pytest.approx([2, 3, 4])


def test_names_have_no_trend():
    cells = {(i, j): [i + j + seed / 10 * j for seed in range(3)] for i, j in product(range(2), range(3))}
    found = effects(crossed(cells, MOMENTUM, CrossedFactor("variant", ("lmm", "mac", "mag"))))
    assert [effect.trend for effect in found] == [None, None, None]


def test_a_seed_that_lacks_a_cell_is_left_out_and_a_diverged_run_settles_nothing():
    cells = TWO_BY_TWO | {(1, 1): [2.8, 3.0, None]}
    momentum, *_ = effects(crossed(cells, MOMENTUM, CHUNK, diverged={(1, 1): 1}))
    assert momentum.matched.seeds == (0, 1)
    assert momentum.contrasts[0].by_seed == pytest.approx([0.55, 0.45])
    assert (momentum.diverged, momentum.verdict) == (1, "inconclusive")


def test_a_cell_without_any_value_leaves_the_matched_combinations():
    cells = {(i, j): [2.0 + i + j, 2.1 + i + 2 * j, 2.2 + 2 * i + j] for i, j in product(range(2), range(3))}
    cells[1, 2] = [None, None, None]
    factors = MOMENTUM, CrossedFactor("chunk", (8, 16, 32))
    momentum, chunk, both = effects(crossed(cells, *factors))
    assert momentum.matched.cells == ((0, 0), (0, 1), (1, 0), (1, 1))  # no chunk of 32
    assert chunk.matched.cells == ((0, 0), (0, 1), (0, 2))  # with momentum alone
    assert both.matched.levels == ((0, 1), (0, 1))  # the chunk of 32 is left out
    assert len(both.contrasts) == 1


def test_one_factor_at_a_time_is_not_crossed():
    cells = {(0, 0): [2.0, 2.1], (1, 0): [2.2, 2.3], (0, 1): [2.5, 2.4]}
    one_at_a_time = crossed(cells, MOMENTUM, CHUNK)
    assert not one_at_a_time.crosses((0, 1))
    assert [effect.factors for effect in effects(one_at_a_time)] == [(0,), (1,)]


def test_before_any_run_has_a_value_there_is_no_effect():
    factors = (CrossedFactor("a", (0, 1)), CrossedFactor("b", (0, 1)))
    assert effects(Crossing(factors, {cell: Sample({}) for cell in product((0, 1), repeat=2)})) == []


def test_one_seed_and_seeds_without_spread_test_nothing():
    one = effects(crossed({cell: values[:1] for cell, values in TWO_BY_TWO.items()}, MOMENTUM, CHUNK))
    same = effects(crossed({cell: [1.0 + sum(cell)] * 3 for cell in TWO_BY_TWO}, MOMENTUM, CHUNK))
    for effect in (*one, *same):
        assert (effect.p, effect.adjusted, effect.detectable, effect.verdict) == (None, None, None, "inconclusive")
        assert effect.contrasts[0].half_width is None


def test_intervals_cover_and_nulls_stay_below_five_percent():
    generator, studies = np.random.default_rng(0), 300
    found = [effects(factorial((2, 3), 4, generator, spread=5.0)) for _ in range(studies)]
    covered = np.mean([abs(one.contrasts[0].mean) <= (one.contrasts[0].half_width or 0) for one, *_ in found])
    false = np.mean([any(effect.verdict == "significant" for effect in each) for each in found])
    assert 0.91 <= covered <= 0.98  # 0.95, two and a half standard errors of 300 studies
    assert false <= 0.08
