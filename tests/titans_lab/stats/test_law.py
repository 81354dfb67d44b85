"""Predicted costs against a law that is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from titans_lab.stats.law import CostLaw, Estimate, Example

OFFSETS = {"lmm": 0.0, "mac": 0.8, "transformer": -0.5}


def drawn(random_: random.Random, shape: str = "", sigma: float = 0.2) -> Example:
    """cost = e^offset * work^0.8 * noise."""
    group, log_work = random_.choice(list(OFFSETS)), random_.uniform(20, 28)
    cost = math.exp(OFFSETS[group] + 0.8 * log_work - 18 + random_.gauss(0, sigma))
    return Example(math.exp(log_work), cost, group, shape or random_.random())


@pytest.mark.parametrize(("seen", "least"), [(6, 0.92), (12, 0.93), (40, 0.935)])
def test_the_interval_holds_the_truth_as_often_as_it_says(seen: int, least: float):
    """0.95, but for the sampling error of 1,500 draws."""
    random_, held, asked = random.Random(seen), 0, 0
    for _ in range(1500):
        examples = [drawn(random_) for _ in range(seen)]
        new = drawn(random_)
        estimate = CostLaw(examples).estimate(new.work, new.group, new.shape)
        assert estimate is not None
        if estimate.low is not None and estimate.high is not None:
            asked += 1
            held += estimate.low <= new.cost <= estimate.high
    assert asked > 1100  # the others say that they do not know
    assert least <= held / asked <= 0.985


def test_a_group_that_was_seen_often_has_an_offset_of_its_own():
    random_ = random.Random(0)
    law = CostLaw([drawn(random_, sigma=0.01) for _ in range(60)])
    work = math.exp(24)
    for group, offset in OFFSETS.items():
        estimate = law.estimate(work, group, "new")
        assert estimate is not None
        assert estimate.value == pytest.approx(math.exp(offset + 0.8 * 24 - 18), rel=0.02)
        assert estimate.high is not None
        assert estimate.high / estimate.value < 1.05
    other = law.estimate(work, "mamba", "new")
    assert other is not None
    assert other.high is not None
    assert other.high / other.value > 2


def test_the_very_shape_stands_in_for_the_law():
    """It costs ten times what the law says, with the spread of other shapes' repetitions."""
    random_ = random.Random(1)
    examples = [replace(drawn(random_), shape=f"shape {index}") for index in range(10)]
    examples += [replace(each, cost=each.cost * math.exp(random_.gauss(0, 0.2))) for each in examples]
    odd = Example(math.exp(24), 1e4, "lmm", "odd")
    estimate = CostLaw([*examples, odd]).estimate(odd.work, "lmm", "odd")
    assert estimate is not None
    assert estimate.examples == 1
    assert estimate.value == pytest.approx(1e4)
    assert estimate.low is not None
    assert estimate.low < 1e4


def test_repetitions_of_a_shape_do_not_make_the_law_surer():
    """Two shapes at the same distance from the law, seen once or a hundred times: what a third costs stays open."""
    few = [Example(1e9, 1.0, "lmm", "a"), Example(1.1e9, 2.0, "lmm", "b")]
    once, often = (CostLaw(few * times).estimate(1e9, "lmm", "c") for times in (1, 100))
    assert once == often


def test_one_run_of_the_same_shape_is_used_before_any_law():
    """Others of another size follow a law by which it would cost a thousandth."""
    others = [Example(1e6 * 10**n, 1e-3 * 3**n, "lmm", n) for n in range(3)]
    own = Example(1e9, 50.0, "lmm", "own")
    estimate = CostLaw([*others, own]).estimate(own.work, "lmm", "own")
    assert estimate == Estimate(pytest.approx(50.0), None, None, 1, same_shape=True)


def test_an_interval_is_never_absurd():
    """Few examples that disagree, and a size far away from all of them: the interval is said to be unknown."""
    examples = [Example(1e6, 1.0, "lmm", "a"), Example(2e6, 9.0, "lmm", "b"), Example(4e6, 2.0, "lmm", "c")]
    for work in (1e3, 1e6, 1e12, 1e30):
        estimate = CostLaw(examples).estimate(work, "lmm", "new")
        assert estimate is not None
        assert (estimate.low, estimate.high) == (None, None)
    random_ = random.Random(4)
    for _ in range(300):
        estimate = CostLaw([drawn(random_) for _ in range(random_.randint(1, 9))]).estimate(math.exp(40), "mac", "new")
        assert estimate is not None
        if estimate.low is not None and estimate.high is not None:
            assert estimate.high / estimate.low < 100.001


@pytest.mark.parametrize(("power", "possible"), [(-1.0, 0.0), (3.0, 1.5)])
def test_a_slope_that_comes_from_noise_is_not_followed(power: float, possible: float):
    """Costs that fall with the work, or rise with its cube, would send an estimate anywhere."""
    examples = [Example(10.0**n, 10.0 ** (power * n), "lmm", n) for n in range(1, 4)]
    estimate = CostLaw(examples).estimate(1e6, "lmm", "new")
    assert estimate is not None
    assert estimate.value == pytest.approx(10.0 ** (2 * power + 4 * possible))


def test_few_examples_say_little():
    one = Example(1e9, 2.0, "lmm", "a")
    assert CostLaw([]).estimate(1e9, "lmm", "a") is None
    assert CostLaw([one]).estimate(2e9, "mac", "b") == Estimate(pytest.approx(4.0), None, None, 1)
    two = CostLaw([one, Example(1e9, 2.01, "lmm", "b")]).estimate(1e9, "lmm", "c")
    assert two is not None
    assert two.low is not None
    assert two.low < 2
    assert CostLaw([one, Example(1e9, 2.5, "lmm", "b")]).estimate(1e9, "lmm", "c") == Estimate(
        pytest.approx(5**0.5), None, None, 2
    )
    exact = CostLaw([one, one]).estimate(1e9, "lmm", "a")
    assert exact == Estimate(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0), 2, same_shape=True)
