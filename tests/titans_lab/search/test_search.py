"""Searches from asking to the records, with runs that take no time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from searches import HEAD, RATE, Searching, falling

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator
from titans_lab.search.trial import Trial
from titans_lab.sweep import Sweep, record_runs

DEPTH = "    model.memory.depth: {int: [1, 3]}\n"


class Killed(BaseException):
    """In the place of a kill: what is not written is lost."""


def run(search: Coordinator) -> list[Trial]:
    """All trials, in order, of the first arm."""
    search.run(lambda *_: None)
    return list(search.tunings[0].trials.values())


def kept(search: Coordinator) -> list[Trial]:
    """The trials that the store has."""
    return [Trial.of(record) for record in search.tunings[0].folder.trials()]


def started(search: Coordinator) -> list[str]:
    return search.executor.started  # type: ignore[attr-defined]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "{name: gp, n_startup_trials: 4}", "cmaes"])
def test_a_search_tries_as_many_points_as_it_may_and_keeps_each(searching: Searching, sampler: str):
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    search = searching(f"  trials: 8\n  sampler: {sampler}\n", RATE + DEPTH)
    trials = run(search)
    assert [trial.number for trial in trials] == list(range(8))
    assert {trial.state for trial in trials} == {"done"}
    assert kept(search) == trials
    for trial in trials:
        [run_id] = trial.runs
        status = search.store.run(run_id).status()
        assert status is not None
        assert trial.values == (status.summary["loss"],)
        assert 1e-4 <= trial.params["train.lr"] <= 1e-1
        assert trial.params["train.lr"] == float(f"{trial.params['train.lr']:.6g}")


def test_a_trial_is_the_run_that_a_sweep_would_make_of_it(searching: Searching, tmp_path: Path):
    search = searching("  trials: 3\n")
    [first, *_] = run(search)
    from titans_lab.study.study import load_study

    path = tmp_path / "other.yaml"
    path.write_text(f"{HEAD}grid: {{train.lr: [{first.params['train.lr']}]}}\n")
    [same] = load_study(path).runs(lambda _: "0" * 64)
    assert (same.run_id,) == first.runs
    assert record_runs([same], search.store) == []


def test_the_best_is_the_best(searching: Searching):
    search = searching("  trials: 12\n", RATE + DEPTH)
    trials = run(search)
    [best] = search.tunings[0].best()
    assert best.values == min(trial.values for trial in trials if trial.values)


def test_a_conditional_parameter_is_there_where_its_condition_holds(searching: Searching):
    space = DEPTH + "    model.memory.alpha_bias: {float: [-8, 0], step: 0.5, when: model.memory.depth > 1}\n"
    for trial in run(searching("  trials: 15\n", space)):
        assert ("model.memory.alpha_bias" in trial.params) == (trial.params["model.memory.depth"] > 1)


def test_a_grid_has_each_of_its_points_once_and_then_ends(searching: Searching):
    space = DEPTH + "    model.memory.alpha_bias: {choice: [-8.0, -4.0], when: model.memory.depth > 1}\n"
    trials = run(searching("  trials: 100\n  sampler: grid\n", space))
    assert len(trials) == 5
    assert len({tuple(trial.params.items()) for trial in trials}) == 5


def test_known_points_come_first_and_what_they_leave_open_is_drawn(searching: Searching):
    block = "  trials: 4\n  enqueue: [{train.lr: 2e-3}, {model.memory.depth: 3, train.lr: 1e-2}]\n"
    trials = run(searching(block, RATE + DEPTH))
    assert [trial.origin for trial in trials] == ["enqueued", "enqueued", "sampler", "sampler"]
    assert trials[0].params["train.lr"] == 2e-3
    assert trials[0].params["model.memory.depth"] in (1, 2, 3)
    assert trials[1].params == {"train.lr": 1e-2, "model.memory.depth": 3}


def test_a_pruner_stops_what_is_not_promising_and_a_sweep_goes_on_with_it(searching: Searching):
    search = searching("  trials: 16\n  pruner: {name: median, n_startup_trials: 3}\n", RATE + DEPTH)
    trials = run(search)
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert kept(search) == trials
    for trial in pruned:
        folder = search.store.run(trial.runs[0])
        assert folder.state() == "pruned"
        assert trial.steps < trial.planned
        assert trial.why is not None
        assert "is unpromising" in trial.why
    runs = [search.tunings[0].runs(trial.params)[0] for trial in pruned]
    assert record_runs(runs, search.store) == runs
    sweep = Sweep(search.store, search.executor, search.devices, runs)
    sweep.run(lambda _: None)
    assert set(sweep.ended.values()) == {"done"}


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_other_pruners_stop_trials_too(searching: Searching, pruner: str):
    trials = run(searching(f"  trials: 20\n  pruner: {pruner}\n", RATE + DEPTH))
    assert {trial.state for trial in trials} == {"done", "pruned"}


def test_a_pruner_has_runs_validated_on_their_way_unless_the_study_says_how_often(searching: Searching):
    for said, every in (("", 4), ("  log: {valid_every: 30}\n", 30)):
        search = searching("  pruner: median\n", head=HEAD + said)
        [run] = search.tunings[0].runs({"train.lr": 1e-3})
        assert run.config.log.valid_every == every
    [run] = searching("").tunings[0].runs({"train.lr": 1e-3})
    assert run.config.log.valid_every == 0


def edge(config: RunConfig, seed: int) -> list[float | str]:
    """Without a number above a rate of 10^-2."""
    return [2.0, math.nan] if config.train.lr > 1e-2 else falling(config, seed)


@pytest.mark.parametrize("sampler", ["tpe", "{name: gp, n_startup_trials: 5}"])
def test_the_sampler_learns_where_trials_diverge(searching: Searching, sampler: str):
    search = searching(f"  trials: 24\n  sampler: {sampler}\n", "    train.lr: {float: [5e-3, 2e-2]}\n", curve=edge)
    trials = run(search)
    diverged = [trial.state == "diverged" for trial in trials]
    assert sum(diverged[:10]) >= 3  # two thirds of the range
    assert sum(diverged[14:]) <= 5
    assert all(trial.values is None for trial in trials if trial.state == "diverged")


def test_a_run_out_of_memory_is_a_trial_without_values(searching: Searching):
    def curve(config: RunConfig, seed: int) -> list[float | str]:
        return ["oom"] if config.model.memory.depth == 3 else falling(config, seed)

    trials = run(searching("  trials: 9\n", RATE + DEPTH, curve=curve))
    assert {(trial.params["model.memory.depth"] == 3, trial.state) for trial in trials} == {
        (True, "oom"),
        (False, "done"),
    }


def test_failed_trials_run_again_with_the_next_coordinator(searching: Searching):
    def broken(config: RunConfig, seed: int) -> list[float | str]:
        return ["failed"] if config.train.lr < 3e-3 else falling(config, seed)

    first = run(searching("  trials: 8\n", curve=broken))
    assert {trial.state for trial in first} == {"done", "failed"}
    again = searching("  trials: 8\n")
    assert {trial.state for trial in run(again)} == {"done"}
    assert len(started(again)) == sum(trial.state == "failed" for trial in first)


@pytest.mark.parametrize("fail_fast", [True, False])
def test_the_first_failure_ends_a_search_where_that_is_wanted(searching: Searching, fail_fast: bool):
    def broken(config: RunConfig, seed: int) -> list[float | str]:
        return ["failed"] if config.train.lr == 1e-3 else falling(config, seed)

    block = "  trials: 6\n  enqueue: [{train.lr: 2e-3}, {train.lr: 1e-3}]\n  finalists: {count: 1, seeds: 1}\n"
    search = searching(block, curve=broken)
    search.fail_fast = fail_fast
    run(search)
    assert (search.failed, search.halted, search.left) == (1, fail_fast, fail_fast)
    assert len(search.tunings[0].trials) == (2 if fail_fast else 6)
    assert bool(search.finalists) != fail_fast
    again = searching(block)
    assert {trial.state for trial in run(again)} == {"done"}


def test_a_run_that_takes_too_long_is_a_trial_that_failed(searching: Searching):
    search = searching("  trials: 2\n")
    search.run_timeout = 0.0
    trials = run(search)
    assert [trial.state for trial in trials] == ["failed"] * 2
    assert trials[0].why == "took more than the 0 s that --timeout allows"
    assert search.store.run(trials[0].runs[0]).state() == "timeout"
    assert {trial.state for trial in run(searching("  trials: 2\n"))} == {"done"}


def test_a_trial_that_violates_a_known_bound_is_never_started(searching: Searching):
    search = searching("  trials: 12\n  constraints: {params: {max: 15000}}\n", DEPTH + RATE)
    trials = run(search)
    infeasible = [trial for trial in trials if trial.state == "infeasible"]
    assert infeasible
    assert {trial.state for trial in trials} == {"done", "infeasible"}
    assert all(trial.limits["params"] > 0 and trial.why == "not within params" for trial in infeasible)
    assert all(not search.store.run(name).path.exists() for trial in infeasible for name in trial.runs)


def test_a_trial_that_a_rule_excludes_is_never_started(searching: Searching):
    search = searching("  trials: 9\n", DEPTH + RATE, HEAD + "where: model.memory.depth < 3\n")
    for trial in run(search):
        assert (trial.state == "infeasible") == (trial.params["model.memory.depth"] == 3)
        assert trial.state == "done" or "a rule of the study leaves" in str(trial.why)


def test_the_best_meets_bounds_on_what_is_measured(searching: Searching):
    search = searching("  trials: 12\n  constraints: {tokens_per_second: {min: 2500}}\n", RATE + DEPTH)
    trials = run(search)  # a run's speed is 1000 times its loss
    assert {trial.state for trial in trials} == {"done"}
    [best] = search.tunings[0].best()
    assert best.values == min(trial.values for trial in trials if trial.values and trial.values[0] >= 2.5)


def test_a_trial_of_several_seeds_has_their_mean(searching: Searching):
    for trial in run(searching("  trials: 3\n  seeds: 3\n")):
        assert trial.state == "done"
        assert len(trial.runs) == 3
        assert trial.values == pytest.approx((sum(each for [each] in trial.by_seed) / 3,))
        assert [each for [each] in trial.by_seed] == sorted(each for [each] in trial.by_seed)


def test_a_bad_point_stops_before_its_last_seed(searching: Searching):
    search = searching("  trials: 16\n  seeds: 3\n  sampler: random\n", RATE + DEPTH)
    trials = run(search)
    raced = [trial for trial in trials if trial.state == "stopped"]
    assert raced
    assert all(len(trial.by_seed) < 3 for trial in raced)
    assert len(started(search)) == sum(len(trial.by_seed) for trial in trials)
    good = search.tunings[0].best()[0].values
    assert good is not None
    assert all(good < trial.values for trial in raced if trial.values)


def test_the_best_of_several_objectives_are_those_that_none_beats(searching: Searching):
    search = searching("  trials: 15\n  metric: [loss, tokens_per_second]\n", RATE + DEPTH)
    trials = run(search)  # a run's speed is 1000 times its loss, so no trial beats another
    assert len(search.tunings[0].best()) == len({trial.values for trial in trials})
    one = searching("  trials: 15\n  metric: [loss, {name: tokens_per_second, direction: minimize}]\n", RATE + DEPTH)
    run(one)
    assert len(one.tunings[0].best()) == 1


@pytest.mark.parametrize(("metric", "best"), [("[loss, tokens_per_second]", min), ("[tokens_per_second, loss]", max)])
def test_the_best_of_several_objectives_are_ranked_by_the_first(searching: Searching, metric: str, best):  # type: ignore[no-untyped-def]
    search = searching(f"  trials: 12\n  sampler: random\n  metric: {metric}\n")
    run(search)
    firsts = [trial.values[0] for trial in search.tunings[0].best() if trial.values]
    assert len(firsts) > 4
    assert firsts == sorted(firsts, reverse=best is max)
    assert firsts[0] == best(trial.values[0] for trial in search.tunings[0].trials.values() if trial.values)


def test_runs_of_other_studies_are_told_and_not_run_again(searching: Searching):
    other = searching("  trials: 6\n  sampler: random\n")
    before = run(other)
    search = searching("  trials: 4\n", "    train.lr: {float: [1e-3, 1e-1], log: true}\n")
    trials = run(search)
    inside = [trial for trial in before if trial.params["train.lr"] >= 1e-3]
    assert inside
    told = [trial for trial in trials if trial.origin == "store"]
    assert [dict(trial.params) for trial in told] == [
        dict(each.params) for each in sorted(inside, key=lambda t: t.runs)
    ]
    assert sorted(trial.values for trial in told if trial.values) == sorted(t.values for t in inside if t.values)
    assert len(trials) == len(inside) + 4
    assert not {name for trial in before for name in trial.runs} & set(started(search))


def test_a_warm_start_can_be_left_out_and_is_where_arms_are_tuned(searching: Searching):
    run(searching("  trials: 3\n  sampler: random\n"))
    cold = searching("  trials: 2\n  warm_start: false\n")
    assert [trial.origin for trial in run(cold)] == ["sampler"] * 2
    arms = searching("  trials: 2\n", head=HEAD + "ablate: {model.memory.momentum: false}\n")
    arms.run(lambda *_: None)
    assert [trial.origin for tuning in arms.tunings for trial in tuning.trials.values()] == ["sampler"] * 4


def test_each_arm_is_searched_by_itself_with_the_same_budget(searching: Searching):
    search = searching("  trials: 5\n", head=HEAD + "grid: {model.memory.depth: [1, 2, 3]}\n")
    search.run(lambda *_: None)
    assert [len(tuning.trials) for tuning in search.tunings] == [5, 5, 5]
    assert len({tuning.goal.name for tuning in search.tunings}) == 3
    firsts = [tuning.trials[0].params["train.lr"] for tuning in search.tunings]
    assert len(set(firsts)) == 3  # each has draws of its own


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "cmaes", "grid"])
def test_no_trial_is_lost_or_there_twice_however_often_the_coordinator_is_killed(searching: Searching, sampler: str):
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    space = "    train.lr: {choice: [1e-4, 1e-3, 1e-2, 1e-1]}\n" + DEPTH if sampler == "grid" else RATE + DEPTH
    block = f"  trials: 12\n  sampler: {sampler}\n"
    runs: list[str] = []
    for at in range(1, 30, 3):
        search = searching(block, space)
        turns = iter(range(at))

        def kill(*_: object, turns=turns) -> None:  # type: ignore[no-untyped-def]
            if next(turns, None) is None:
                raise Killed

        try:
            search.run(kill)
        except Killed:
            runs += started(search)
        else:
            runs += started(search)
            break
    final = searching(block, space)
    trials = run(final)
    assert started(final) == []
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {"done"}
    assert kept(final) == trials
    finished = [name for trial in trials for name in trial.runs]
    assert set(runs) == set(finished)


def test_a_rebuilt_sampler_proposes_what_the_old_one_would_have(searching: Searching):
    block = "  trials: 14\n  warm_start: false\n"
    search = searching(block, RATE + DEPTH, workers=1)
    whole = run(search)
    other = searching(block, RATE + DEPTH, workers=1)
    for number in (11, 12, 13):
        other.tunings[0].folder.trial_path(number).unlink()
    again = run(other)
    assert [dict(trial.params) for trial in again] == [dict(trial.params) for trial in whole]
    assert started(other) == []


def test_a_record_that_is_damaged_costs_a_trial_and_no_run(searching: Searching):
    search = searching("  trials: 5\n", workers=1)
    run(search)
    search.tunings[0].folder.trial_path(2).write_text('{"number": 2, ')
    again = searching("  trials: 5\n", workers=1)
    trials = run(again)
    assert 2 not in [trial.number for trial in trials] or len(trials) >= 5
    assert {trial.state for trial in trials} == {"done"}


#: What a record of a trial may say that this search never wrote, and what is said of it.
FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"params": {"train.lr": 0.01, "x'); drop table trials;--\ud800": 1}}, "params has keys that are not in"),
    *(
        ({"params": {"train.lr": value}}, "params is not a point")
        for value in (1e9, math.nan, math.inf, "low", True, None)
    ),
    ({"params": {}}, "params is not a point"),
    ({"values": [1.0, 2.0]}, "need one number for each objective"),
    ({"values": [math.nan]}, "need one number for each objective"),
    ({"by_seed": [[1.0], []]}, "need one number for each objective"),
    ({"told": [2.0, 1.0]}, "need one number for each objective"),
    ({"values": None}, "it is done, and has no values"),
    ({"state": "running"}, "it is running, but has ended or lacks a run for some seed"),
    ({"state": "running", "ended": None}, "it is running, but has ended or lacks a run for some seed"),
    ({"state": "running", "ended": None, "by_seed": [], "runs": ["a"] * 9}, "lacks a run for some seed"),
    ({"attributes": {"completed_rung_0": "low"}}, "attributes has a value that no sampler"),
    ({"attributes": {"completed_rung_\ud800": 1.0}}, "attributes has a value that no sampler"),
    ({"attributes": {"grid_id": 1}}, "attributes has a value that no sampler"),
]


@pytest.mark.parametrize(("said", "wrong"), FOREIGN)
def test_a_trial_that_is_none_of_the_search_is_named_and_stays(searching: Searching, said: dict[str, Any], wrong: str):
    block = "  trials: 3\n  sampler: random\n"
    search = searching(block)
    run(search)
    folder = search.tunings[0].folder
    folder.save_trial(folder.trials()[2] | said)
    forged = folder.trial_path(2).read_bytes()
    for again in (searching(block).load, lambda: run(searching(block))):
        with pytest.raises(UserError) as error:
            again()
        assert str(error.value).startswith(f"{folder.trial_path(2)}: is not a trial of this search: ")
        assert wrong in str(error.value)
    assert folder.trial_path(2).read_bytes() == forged


def test_two_coordinators_at_once_are_one_too_many(searching: Searching):
    search = searching("  trials: 2\n")
    run(search)
    with search.tunings[0].folder.alone(), pytest.raises(UserError, match="another process runs this search"):
        run(searching("  trials: 3\n"))


def test_nothing_more_begins_after_the_timeout(searching: Searching):
    search = searching("  trials: 5\n")
    search.timeout = 0.0
    search.started -= 1
    assert run(search) == []


def test_more_trials_go_on_from_those_that_are_there(searching: Searching):
    before = run(searching("  trials: 3\n"))
    search = searching("  trials: 5\n")
    after = run(search)
    assert after[:3] == before
    assert len(after) == 5
    assert len(started(search)) == 2


def test_two_trials_may_be_the_same_run(searching: Searching):
    search = searching("  trials: 6\n  sampler: random\n", "    model.memory.depth: {int: [1, 2]}\n")
    trials = run(search)
    assert {trial.state for trial in trials} == {"done"}
    assert len(trials) == 6
    assert len(started(search)) == len(set(started(search))) <= 2
