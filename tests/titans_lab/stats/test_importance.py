from __future__ import annotations

import numpy as np
import pytest

from titans_lab.stats.importance import importance, importances


def test_a_decisive_parameter_has_all_importance_and_an_idle_one_about_none():
    generator = np.random.default_rng(0)
    x, noise, kind = generator.random(400), generator.random(400), generator.choice(["a", "b", "c"], 400)
    scores = (x * 10).round() + (kind == "a") * 1e-6
    assert importance(x.tolist(), scores.tolist(), bins=8) > 0.9
    assert importance(noise.tolist(), scores.tolist()) < 0.05
    assert importance(kind.tolist(), (kind == "b").astype(float).tolist()) > 0.7


def test_it_is_not_biased_by_the_number_of_groups():
    generator = np.random.default_rng(1)
    found = [importance(generator.integers(0, 4, 20).tolist(), generator.random(20).tolist()) for _ in range(200)]
    assert np.mean(found) < 0.08  # cut at 0; eta squared would be at 0.16


@pytest.mark.parametrize(
    ("values", "scores"), [([1, 1, 1], [1.0, 2.0, 3.0]), ([1, 2], [1.0, 2.0]), ([1, 1, 2], [3.0, 3.0, 3.0])]
)
def test_too_little_says_nothing(values: list[int], scores: list[float]):
    assert importance(values, scores) is None


def test_parameters_are_ranked_by_what_they_explain():
    generator = np.random.default_rng(1)
    points = [{"rate": float(rate), "depth": int(rate * 100) % 3, "same": 1} for rate in generator.random(40)]
    points = [point | ({"rare": 1} if number else {}) for number, point in enumerate(points)]
    found = importances(points, [abs(point["rate"] - 0.1) for point in points])
    assert list(found) == ["rate", "depth"]  # not one that never varied, nor one that some points lack
    assert found["rate"] > 0.7 > 0.2 > found["depth"]
    assert importances(points[:7], [1.0, 2, 3, 4, 5, 6, 7]) == {}
