"""A bound on memory: what is expected to break it is never started."""

from __future__ import annotations

from pathlib import Path

import pytest
from pasts import finish
from searches import HEAD, Searching

from titans_lab.planning.expected import size
from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator
from titans_lab.search.memory import PEAK, Forecast
from titans_lab.search.trial import Trial
from titans_lab.store.store import Store
from titans_lab.study.study import load_study
from titans_lab.study.terms import Limit

WIDTHS = "    model.dim: {choice: [16, 32, 64, 128]}\n"


def peak(config: RunConfig) -> int:
    return 30 * size(config)


def widths(tmp_path: Path, head: str = HEAD) -> dict[int, int]:
    """The peak memory by width."""
    return {run.config.model.dim: peak(run.config) for run in runs(tmp_path, [16, 32, 64, 128], head)}


def runs(tmp_path: Path, dims: list[int], head: str = HEAD):  # type: ignore[no-untyped-def]
    path = tmp_path / "before.yaml"
    path.write_text(f"{head}grid: {{model.dim: {dims}, train.lr: [2e-3]}}\n")
    return load_study(path).runs(lambda _: "0" * 64)


def tried(search: Coordinator) -> list[Trial]:
    search.executor.peak = peak  # type: ignore[attr-defined]
    search.run(lambda *_: None)
    return list(search.tunings[0].trials.values())


def fates(trials: list[Trial]) -> set[tuple[bool, str]]:
    """Whether a trial is too wide, and what became of it."""
    return {(trial.params["model.dim"] > 32, trial.state) for trial in trials}


def most(tmp_path: Path) -> float:
    """Between what widths of 32 and 64 take."""
    by_width = widths(tmp_path)
    return (by_width[32] + by_width[64]) / 2


def test_what_the_store_s_runs_tell_is_known_before_a_trial(searching: Searching, tmp_path: Path):
    finish(runs(tmp_path, [16, 128]), Store(tmp_path / "results"), peak_memory_bytes=lambda run: peak(run.config))
    block = f"  trials: 12\n  sampler: random\n  constraints: {{peak_memory_bytes: {{max: {most(tmp_path)}}}}}\n"
    block += "  enqueue: {model.dim: 64}\n"  # the first: it is refused by the store's runs alone
    search = searching(block, WIDTHS + "    train.lr: {float: [1e-3, 1e-2]}\n")
    trials = tried(search)
    assert fates(trials) == {(True, "infeasible"), (False, "done")}
    for trial in trials:
        if trial.state == "infeasible":
            expected = widths(tmp_path)[trial.params["model.dim"]]
            assert trial.limits["peak_memory_bytes"] == pytest.approx(expected / most(tmp_path) - 1, rel=0.2)
            assert str(trial.why).startswith("not within peak_memory_bytes, expected ")
        assert search.store.run(trial.runs[0]).path.exists() == (trial.state == "done")


def test_a_search_learns_from_its_own_trials(searching: Searching, tmp_path: Path):
    block = "  trials: 14\n  sampler: {name: random, seed: 1}\n"
    block += f"  constraints: {{peak_memory_bytes: {{max: {most(tmp_path)}}}}}\n"
    space = WIDTHS + "    train.lr: {float: [1e-3, 1e-2]}\n"
    first, *others = tried(searching(block + "  enqueue: {model.dim: 128}\n", space, workers=1))
    assert (first.state, first.feasible) == ("done", False)  # nothing was known: it ran, and its memory was measured
    assert fates(others) == {(True, "infeasible"), (False, "done")}
    assert all(trial.feasible == (trial.state == "done") for trial in others)


def test_without_a_bound_on_memory_nothing_is_forecast(searching: Searching):
    search = searching("  trials: 2\n  constraints: {params: {max: 1e9}}\n")
    assert {trial.state for trial in tried(search)} == {"done"}
    assert search.tunings[0].forecast is None


def test_a_forecast_guesses_nothing(searching: Searching):
    search = searching()
    [run] = search.tunings[0].runs({"train.lr": 1e-3})
    forecast = Forecast((), search.devices[0], Limit(PEAK, high=1e9))
    assert forecast.figures(run.config) == {}
    forecast.learn(run, {"loss": 2.0})
    assert forecast.figures(run.config) == {}
    forecast.learn(run, {"peak_memory_bytes": 5 * 10**8})
    assert forecast.figures(run.config) == pytest.approx({"peak_memory_bytes": 5e8})


def test_a_trial_is_dropped_by_what_is_known_and_by_no_guess(searching: Searching, tmp_path: Path):
    """The law of the store's runs is far too high for the best trial, whose very shape was measured and fits."""
    store = Store(tmp_path / "results")
    disagreeing = {16: 9e9, 64: 3e8, 128: 5e10}
    finish(runs(tmp_path, [16, 64, 128]), store, peak_memory_bytes=lambda run: disagreeing[run.config.model.dim])
    block = "  trials: 2\n  enqueue: [{model.dim: 64}, {model.dim: 32}]\n"
    block += "  constraints: {peak_memory_bytes: {max: 1e9}}\n"
    search = searching(block, WIDTHS + "    train.lr: {float: [1e-3, 1e-2]}\n")
    measured, guessed = tried(search)
    assert (measured.params["model.dim"], measured.state) == (64, "done")
    assert (guessed.params["model.dim"], guessed.state) == (32, "done")  # no run of its size, and the law disagrees


def test_the_end_of_the_interval_that_is_nearest_to_the_bound_decides(searching: Searching, tmp_path: Path):
    search = searching()
    [run] = search.tunings[0].runs({"train.lr": 1e-3})
    for limit, expected in ((Limit(PEAK, high=1e8), "low"), (Limit(PEAK, low=1e12), "high")):
        forecast = Forecast((), search.devices[0], limit)
        for peak_bytes in (4e8, 5e8, 6e8):
            forecast.learn(run, {PEAK: peak_bytes})
        figure = forecast.figures(run.config)[PEAK]
        assert (figure < 4e8) if expected == "low" else (figure > 6e8)
        assert limit.excess(figure) > 0
    forecast = Forecast((), search.devices[0], Limit(PEAK, low=4.5e8, high=5.5e8))
    for peak_bytes in (4e8, 5e8, 6e8):
        forecast.learn(run, {PEAK: peak_bytes})
    assert forecast.limit.excess(forecast.figures(run.config)[PEAK]) <= 0
