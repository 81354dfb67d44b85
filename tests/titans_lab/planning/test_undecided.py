from __future__ import annotations

import pytest

from titans_lab.planning.detectable import Foreseen
from titans_lab.planning.undecided import undecided
from titans_lab.stats.power import smallest_difference


def foreseen(sd: float, seeds: int, arms: int) -> Foreseen:
    found = smallest_difference(sd, seeds, arms)
    return Foreseen(found, sd, 6, seeds, arms, own=False, metric="loss, bits per byte")


def test_one_seed_decides_nothing():
    assert undecided(1, 2, None, None) == (
        "one seed decides nothing, since a test needs at least two of each arm; set seeds: 3"
    )


def test_two_seeds_find_only_what_no_study_shows():
    assert undecided(2, 1, None, None) == (
        "2 seeds find only differences above 12 standard deviations of a paired difference (80 % power, 1 arm after "
        "Holm), and 3 seeds find 3.3; set seeds: 3"
    )


@pytest.mark.parametrize(("seeds", "arms"), [(3, 1), (3, 6), (5, 2), (3, 0), (1, 0)])
def test_enough_seeds_and_studies_without_a_comparison_are_not_warned_of(seeds: int, arms: int):
    assert undecided(seeds, arms, None, None) == ""


def test_too_few_seeds_for_the_effect_are_reported_with_the_number_that_suffices():
    few = foreseen(0.05, 3, 1)
    said = undecided(3, 1, few, 0.1)
    needed = int(said.rpartition(" ")[2])
    assert said.startswith("3 seeds find a difference of 0.163 with 80 % power, and `effect` asks for 0.1 (loss")
    assert smallest_difference(0.05, needed) <= 0.1 < smallest_difference(0.05, needed - 1)
    assert undecided(3, 1, few, 0.2) == ""


def test_an_effect_that_no_number_of_seeds_finds_is_said():
    assert undecided(3, 1, foreseen(1.0, 3, 1), 0.01).endswith("more than 100 seeds would be needed")


def test_without_a_spread_the_effect_says_nothing():
    assert undecided(3, 1, None, 1e-9) == ""
