from __future__ import annotations

import numpy as np
import pytest
from draws import generator
from scipy import stats

from titans_lab.stats.bootstrap import interquartile_mean, stratified_iqm


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 63])
def test_the_interquartile_mean_is_the_trimmed_mean(count: int):
    scores = generator().normal(size=(3, count))
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=1))


def test_seeds_are_drawn_within_their_task():
    tasks = [[0.0, 0.0], [10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]  # a bootstrap over all scores would vary
    found = stratified_iqm(tasks)
    assert (found.value, found.low, found.high) == (15.0, 15.0, 15.0)


def test_the_interval_covers_the_truth_of_many_tasks():
    generator = np.random.default_rng(1)
    centres = np.linspace(0, 1, 20)
    truth = interquartile_mean(np.repeat(centres, 200) + generator.normal(0, 0.2, 4000))
    hits = [truth in stratified_iqm(list(generator.normal(centres[:, None], 0.2, (20, 5))), 500) for _ in range(200)]
    assert 0.85 <= np.mean(hits) <= 0.99


def test_the_generator_is_the_calls_own():
    tasks = np.random.default_rng(2).normal(size=(5, 4)).tolist()
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # type: ignore[index, union-attr] # noqa: NPY002
    first = stratified_iqm(tasks, seed=3)
    assert stratified_iqm(tasks, seed=3) == first
    assert stratified_iqm(tasks, seed=4) != first
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index] # noqa: NPY002


def test_tasks_may_have_different_numbers_of_seeds_but_not_none():
    assert stratified_iqm([[1.0, 2.0, 3.0], [4.0]]).value == 2.5
    for wrong in ([], [[1.0], []]):
        with pytest.raises(ValueError, match="at least one score"):
            stratified_iqm(wrong)
