from __future__ import annotations

from collections.abc import Callable

import draws
import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from titans_lab.stats.scaling.descent import objectives
from titans_lab.stats.scaling.fit import DELTA, fit, fit_law, starts
from titans_lab.stats.scaling.frontier import parameter_exponent
from titans_lab.stats.scaling.law import Law, log_terms
from titans_lab.stats.scaling.points import Points, check_enough
from titans_lab.stats.simulate import CHINCHILLA, chinchilla

ONE = Law(np.log(1.2), (np.log(40.0),), (0.3,))


def one_variable(noise: float = 0.0, count: int = 12, seed: int = 0) -> Points:
    x = np.geomspace(1e5, 1e8, count)[:, None]
    errors = np.random.default_rng(seed).normal(0, noise, count)
    return Points(x, ONE.loss(x) * np.exp(errors), np.arange(count))


def naive_objective(vector: np.ndarray, points: Points, weight: np.ndarray) -> float:
    """Return the objective by its formula, point by point."""
    law, total = Law.of(vector), 0.0
    for x, loss, times in zip(points.x, points.loss, weight, strict=True):
        curve = law.offset + sum(a / v**alpha for a, v, alpha in zip(law.amplitudes, x, law.exponents, strict=True))
        residual = abs(np.log(curve) - np.log(loss))
        total += times * (residual**2 / 2 if residual <= 1e-3 else 1e-3 * (residual - 5e-4))
    return total


def objective_of(points: Points, weight: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return the objective of a law's vector with its gradient, for scipy's optimisers."""
    log_x, log_loss = np.log(points.x), np.log(points.loss)

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        terms = log_terms(vector, log_x)
        total = np.logaddexp.reduce(terms, axis=1)
        residual = total - log_loss
        slope = np.clip(residual, -DELTA, DELTA)
        share = (weight * slope)[:, None] * np.exp(terms - total[:, None])  # by log E and each log A
        gradient = np.concatenate([share.sum(axis=0), -(share[:, 1:] * log_x).sum(axis=0)])
        return float(np.sum(weight * slope * (residual - slope / 2))), gradient

    return objective


def test_the_objective_is_the_sum_of_hubers_losses():
    points, _ = chinchilla(draws.generator())
    generator = draws.generator()
    weight = generator.integers(0, 3, len(points.loss)).astype(float)
    vector = CHINCHILLA.vector() + generator.normal(0, 0.01, 5)
    [found] = objectives(vector[None], np.log(points.x), np.log(points.loss), weight[None], DELTA)
    value, gradient = objective_of(points, weight)(vector)
    assert found == pytest.approx(naive_objective(vector, points, weight), rel=1e-9)
    assert value == pytest.approx(found, rel=1e-9)
    numeric = approx_fprime(vector, lambda v: objective_of(points, weight)(v)[0], 1e-7)
    assert gradient == pytest.approx(numeric, rel=2e-3, abs=1e-4)


def test_the_grid_of_starts_is_chinchillas():
    assert len(starts(2)) == 4500
    assert len(starts(1)) == 150


def test_without_noise_the_coefficients_come_back():
    assert fit_law(one_variable()).vector() == pytest.approx(ONE.vector(), rel=1e-5)
    points, _ = chinchilla(np.random.default_rng(0))
    exact = Points(points.x, CHINCHILLA.loss(points.x), points.run)
    assert fit_law(exact).vector() == pytest.approx(CHINCHILLA.vector(), rel=1e-5)


@pytest.mark.parametrize("draw", range(3))
def test_the_exponents_are_recovered_at_chinchillas_scale_and_noise(draw: int):
    points, _ = chinchilla(np.random.default_rng(draw))
    found = fit(points, resamples=200)
    for variable in (0, 1):
        interval = found.interval(lambda law, at=variable: law.exponents[at])  # type: ignore[misc]
        assert CHINCHILLA.exponents[variable] in interval
        assert interval.high - interval.low < 0.08
    assert parameter_exponent(CHINCHILLA) in found.interval(parameter_exponent)


def test_the_mean_of_the_losses_at_default_tolerances_gives_another_exponent():
    points, _ = chinchilla(np.random.default_rng(0))
    found = fit(points, resamples=50)
    objective = objective_of(points, np.full(len(points.loss), 1 / len(points.loss)))
    grid = sorted(starts(2), key=lambda start: objective(start)[0])[:5]
    stopped = min((minimize(objective, start, jac=True, method="L-BFGS-B") for start in grid), key=lambda run: run.fun)
    assert stopped.success
    assert parameter_exponent(Law.of(stopped.x)) not in found.interval(parameter_exponent)
    assert stopped.fun > 1.05 * objective(found.law.vector())[0]


def test_the_unit_of_the_loss_and_of_the_sizes_changes_no_exponent():
    points, _ = chinchilla(np.random.default_rng(4))
    scaled = Points(points.x / 1e3, points.loss / np.log(2), points.run)
    assert fit_law(scaled).exponents == pytest.approx(fit_law(points).exponents, rel=1e-4)


def test_whole_runs_are_drawn():
    single = one_variable(noise=0.01)
    doubled = Points(*(np.repeat(values, 5, axis=0) for values in (single.x, single.loss, single.run)))
    alone = Points(doubled.x, doubled.loss, np.arange(len(doubled.loss)))

    def width(points: Points) -> float:
        interval = fit(points, resamples=100).interval(lambda law: law.exponents[0])
        return interval.high - interval.low

    assert width(doubled) == pytest.approx(width(single), rel=0.5)
    assert width(alone) < 0.75 * width(doubled)


def test_equal_seeds_give_equal_intervals():
    points = one_variable(noise=0.01)
    first, again, other = (fit(points, 20, seed).resampled for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_new_runs_fall_into_the_band():
    found = fit(one_variable(noise=0.01, count=30), resamples=100)
    new = one_variable(noise=0.01, count=30, seed=9)
    low, high = found.band(new.x)
    assert 0.8 <= np.mean((low < new.loss) & (new.loss < high)) <= 1
    assert (high / low < 1.1).all()
    further, wider = found.band(np.array([[1e10]]))
    assert wider / further > (high / low).min()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1e6]] * 9, "1 distinct values of parameters: a fit needs 4"),
        ([[1.0], [2.0], [3.0]], "3 distinct values"),
        ([[n, 20 * n] for n in (1.0, 2.0, 4.0, 8.0, 9.0, 10.0)], "move together"),
        ([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [1.0, 7.0]], "4 points: a law of 5 coefficients"),
    ],
)
def test_too_little_to_fit_is_said(x: list[list[float]], words: str):
    points = Points(np.array(x), np.ones(len(x)), np.arange(len(x)))
    with pytest.raises(ValueError, match=words):
        check_enough(points, ("parameters", "tokens")[: points.variables])


def test_points_are_positive_numbers():
    with pytest.raises(ValueError, match="loss: has values that are not finite"):
        Points(np.ones((2, 1)), np.array([1.0, np.nan]), np.arange(2))
    with pytest.raises(ValueError, match="shapes"):
        Points(np.ones(2), np.ones(2), np.arange(2))


def test_the_optimum_is_as_low_as_that_of_l_bfgs():
    points, _ = chinchilla(np.random.default_rng(2))
    objective = objective_of(points, np.ones(len(points.loss)))
    found = fit_law(points)
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 20_000}
    other = minimize(objective, found.vector(), jac=True, method="L-BFGS-B", options=options)
    assert objective(found.vector())[0] == pytest.approx(other.fun, rel=1e-6)


def test_runs_whose_losses_do_not_depend_on_their_size_leave_the_exponents_open():
    sizes, budgets = np.meshgrid([1e5, 2e5, 4e5], [1e6, 2e6, 4e6])
    loss = 2.0 * np.exp(np.random.default_rng(0).normal(0, 0.02, 9))
    flat = fit(Points(np.stack([sizes.ravel(), budgets.ravel()], axis=1), loss, np.arange(9)))
    assert flat.open_exponents
    assert max(law.exponents[0] for law in flat.resampled) <= 20
    assert not fit(chinchilla(np.random.default_rng(1))[0], resamples=50).open_exponents
