from __future__ import annotations

import itertools

import draws
import numpy as np
import pytest
from scipy import stats

from titans_lab.stats.paired import Sample, compare, holm, sign_flip_p
from titans_lab.stats.simulate import study

STUDIES = 2000


def sample(*values: float, **more: object) -> Sample:
    return Sample(dict(enumerate(values)), **more)  # type: ignore[arg-type]


def test_interval_and_p_are_those_of_the_paired_t_test():
    generator = draws.generator()
    x, y = generator.normal(2, 0.1, (2, 7))
    (found,) = compare(sample(*x), [sample(*y)])
    expected = stats.ttest_rel(y, x)
    low, high = expected.confidence_interval(0.95)
    assert found.seeds == 7
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.correlation == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.effect == pytest.approx((y.mean() - x.mean()) / np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2))


def test_without_the_same_batches_it_is_welchs_test_and_says_so():
    generator = draws.generator()
    x, y = generator.normal(2, 0.1, 5), generator.normal(2.1, 0.3, 8)
    (found,) = compare(sample(*x), [sample(*y, paired=False)])
    expected = stats.ttest_ind(y, x, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert (found.paired, found.seeds) == (False, 8)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.sign_flip, found.correlation) == (None, None)


def test_only_seeds_that_both_have_make_a_pair():
    (found,) = compare(Sample({0: 2.0, 1: 2.1, 2: 2.2}), [Sample({2: 1.2, 0: 1.1, 7: 9.0})])
    assert found.seeds == 2
    assert found.mean == pytest.approx(-0.95)


def test_one_seed_has_a_difference_and_no_interval():
    one, none = compare(sample(2.0), [sample(1.0), Sample({}, diverged=3)])
    assert (one.seeds, one.mean, one.half_width, one.p, one.verdict) == (1, -1.0, None, None, "inconclusive")
    assert (none.seeds, none.mean, none.diverged) == (0, None, 3)
    (unpaired,) = compare(sample(2.0, 2.1), [sample(1.0, paired=False)])
    assert (unpaired.mean, unpaired.half_width) == (pytest.approx(-1.05), None)


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_differences_without_spread_are_no_proof(shift: float):
    base = sample(0.7, 0.8, 0.9)
    (found,) = compare(base, [sample(*(value + shift for value in base.values.values()))])
    assert found.mean == pytest.approx(shift)
    assert (found.half_width, found.p, found.verdict) == (None, None, "inconclusive")


@pytest.mark.parametrize(("lower_is_better", "verdicts"), [(True, ["better", "worse"]), (False, ["worse", "better"])])
def test_the_verdict_is_the_sign_of_a_significant_difference(lower_is_better: bool, verdicts: list[str]):
    base, far, near = sample(2.0, 2.1, 2.2, 2.3), (1.0, 1.11, 1.2, 1.29), (2.01, 2.08, 2.22, 2.29)
    less, more, same = compare(
        base, [sample(*far), sample(*(value + 2 for value in far)), sample(*near)], lower_is_better
    )
    assert [less.verdict, more.verdict, same.verdict] == [*verdicts, "inconclusive"]


def test_an_arm_with_a_diverged_seed_is_never_better_and_none_is_worse_than_a_base_with_one():
    base, less, more = (2.0, 2.1, 2.2, 2.3), (1.0, 1.11, 1.2, 1.29), (3.0, 3.11, 3.2, 3.29)

    def verdicts(base_diverged: int, diverged: int) -> list[str]:
        found = compare(
            sample(*base, diverged=base_diverged), [sample(*arm, diverged=diverged) for arm in (less, more)]
        )
        assert all(each.given_convergence == (base_diverged + diverged > 0) for each in found)
        assert all(each.p is not None and each.half_width is not None for each in found)
        return [each.verdict for each in found]

    assert verdicts(0, 0) == ["better", "worse"]
    assert verdicts(0, 1) == ["inconclusive", "worse"]
    assert verdicts(1, 0) == ["better", "inconclusive"]


def test_holm_steps_down_and_counts_what_could_not_be_tested():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([None, 0.02, None]) == [None, pytest.approx(0.06), None]
    assert holm([]) == []


def test_sign_flip_enumerates_every_way_to_set_the_signs():
    differences = draws.generator().normal(0.5, 1, 6)
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p(differences.tolist()) == expected


@pytest.mark.parametrize(("seeds", "smallest"), [(3, 0.25), (5, 0.0625), (8, 1 / 128), (10, 1 / 512)])
def test_the_smallest_sign_flip_p(seeds: int, smallest: float):
    assert sign_flip_p([0.1] * seeds) == smallest
    assert sign_flip_p([]) is None
    assert sign_flip_p([0.1] * 21) is None


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_interval_covers_the_truth_in_95_of_100_studies(seeds: int):
    generator = np.random.default_rng(seeds)
    found = [compare(base, arms)[0] for base, arms in (study(seeds, 1, generator, shift=0.3) for _ in range(STUDIES))]
    covered = np.mean([abs(each.mean - 0.3) <= each.half_width for each in found])  # type: ignore[operator]
    assert 0.93 <= covered <= 0.97


def test_at_most_5_of_100_studies_of_six_equal_arms_call_one_better():
    generator = np.random.default_rng(6)
    found = [compare(*study(5, 6, generator)) for _ in range(STUDIES)]
    better = np.mean([any(each.verdict == "better" for each in arms) for arms in found])
    unadjusted = np.mean([any(each.p < 0.05 and each.mean < 0 for each in arms) for arms in found])  # type: ignore[operator]
    assert 0.01 <= better <= 0.05
    assert unadjusted > 0.08
