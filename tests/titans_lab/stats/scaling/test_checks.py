from __future__ import annotations

import numpy as np
import pytest

from titans_lab.stats.scaling.checks import Parabola, budgets, held_out, parabola_exponent, parabolas
from titans_lab.stats.scaling.frontier import frontier, parameter_exponent
from titans_lab.stats.scaling.points import Points
from titans_lab.stats.simulate import BUDGETS, CHINCHILLA, chinchilla


def parabola(budget: float, optimum: float | None) -> Parabola:
    return Parabola(budget, 5, optimum, (1.0, 9.0), (1.0, 0.0, 2.0), 0.0)


def test_the_frontier_is_where_the_loss_is_least():
    best = frontier(CHINCHILLA, cost=6.0)
    for flops in (1e19, 1e22):
        size = best.parameters(np.array([flops]))
        sizes = size * np.geomspace(0.5, 2, 2001)
        losses = CHINCHILLA.loss(np.stack([sizes, flops / (6 * sizes)], axis=1))
        assert sizes[np.argmin(losses)] == pytest.approx(size[0], rel=2e-3)
        assert 6 * best.parameters(np.array([flops])) * best.tokens(np.array([flops])) == pytest.approx(flops)
    assert best.a == pytest.approx(0.5139, abs=1e-4)
    assert best.a == parameter_exponent(CHINCHILLA)
    assert best.a + best.b == pytest.approx(1)


def test_the_largest_budget_is_predicted_from_the_others():
    points, flops = chinchilla(np.random.default_rng(0))
    told = held_out(points, flops, ("parameters", "tokens"))
    assert told.points == 30
    assert abs(told.error) < 0.005
    assert 0.003 < told.spread < 0.02
    spoiled = Points(points.x, np.where(flops == flops.max(), 1.1 * points.loss, points.loss), points.run)
    assert held_out(spoiled, flops, ("parameters", "tokens")).error < -0.08


def test_one_budget_leaves_nothing_to_predict_from():
    points, flops = chinchilla(np.random.default_rng(0))
    with pytest.raises(ValueError, match="distinct values"):
        held_out(points, np.ones_like(flops), ("parameters", "tokens"))


def test_budgets_within_a_tenth_are_one():
    assert budgets(np.array([10.0, 1.0, 1.05, 10.5, 30.0])).tolist() == [1, 0, 0, 1, 2]


def test_parabolas_find_an_exponent_near_the_truth():
    points, flops = chinchilla(np.random.default_rng(0))
    found = parabolas(points.x[:, 0], flops, points.loss)
    assert [each.budget for each in found] == pytest.approx(BUDGETS)
    exponent = parabola_exponent(found)
    assert exponent is not None
    assert exponent.value == pytest.approx(parameter_exponent(CHINCHILLA), abs=0.03)
    assert exponent.low < exponent.value < exponent.high


def test_an_optimum_at_the_edge_of_the_grid_is_discarded():
    sizes = np.array([1.0, 2.0, 4.0, 8.0])
    inside = (np.log(sizes) - 1.0) ** 2 + 2
    falling, rising_in_the_end = 3 - 0.1 * np.log(sizes), np.array([3.0, 2.5, 2.4, 2.39])
    for loss, optimum in ((inside, np.e), (falling, None), (rising_in_the_end, None), (-inside, None)):
        (found,) = parabolas(sizes, np.full(4, 1e18), loss)
        assert found.optimum == (optimum and pytest.approx(optimum))
    assert parabolas(sizes[:2], np.full(2, 1e18), inside[:2]) == []


def test_a_parabola_can_be_drawn():
    sizes = np.array([1.0, 2.0, 4.0, 8.0])
    (found,) = parabolas(sizes, np.full(4, 1e18), (np.log(sizes) - 1.0) ** 2 + 2)
    assert found.loss(np.array([np.e, np.e**3])) == pytest.approx([2, 6])
    assert found.range == pytest.approx((1, 8))


def test_an_exponent_takes_three_optima():
    exact = [parabola(budget, budget**0.5) for budget in (1e18, 1e19, 1e20)]
    exponent = parabola_exponent(exact)
    assert exponent is not None
    assert (exponent.value, exponent.low) == (pytest.approx(0.5), pytest.approx(0.5))
    assert parabola_exponent([*exact[:2], parabola(1e20, None)]) is None
