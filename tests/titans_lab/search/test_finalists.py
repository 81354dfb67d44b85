"""The best once more, with fresh seeds."""

from __future__ import annotations

import math

from searches import HEAD, RATE, Searching, bowl

from titans_lab.report import write
from titans_lab.report.check import Checked, check
from titans_lab.report.head import head
from titans_lab.report.render import page, study_report
from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator
from titans_lab.search.finalists import tuned
from titans_lab.status import shown_runs, study_status
from titans_lab.store.query import query
from titans_lab.store.store import Store
from titans_lab.study.terms import Budget
from titans_lab.sweep import Sweep, record_runs


def lucky(config: RunConfig, seed: int) -> list[float | str]:
    """Seed 0 is lucky with some rates; in truth only the bowl counts."""
    luck = -5.0 if seed == 0 and int(config.train.lr * 1e6) % 3 == 0 else 0.0
    noise = 0.01 * math.sin(1e5 * config.train.lr * (seed + 1))
    return [bowl(config) + luck + noise]


def noisy(config: RunConfig, seed: int) -> list[float | str]:
    """Return a loss whose differences between depths vary from seed to seed."""
    return [bowl(config) + 0.01 * math.sin(seed * config.model.memory.depth)]


def run(search: Coordinator) -> Coordinator:
    search.run(lambda *_: None)
    return search


def started(search: Coordinator) -> list[str]:
    return search.executor.started  # type: ignore[attr-defined]


def trials_runs(search: Coordinator) -> set[str]:
    return {name for trial in search.tunings[0].trials.values() for name in trial.runs}


def test_finalists_have_seeds_that_the_search_has_not_seen(searching: Searching):
    search = run(searching("  trials: 8\n  seeds: 2\n  finalists: {count: 2, seeds: 4}\n"))
    [finals] = search.finals
    assert finals[0].candidate.name == "base"
    assert [final.candidate.number for final in finals][1:] == [trial.number for trial in search.tunings[0].best(2)]
    for final in finals:
        assert list(final.sample.values) == [2, 3, 4, 5]
    used = {name for trial in search.tunings[0].trials.values() for name in trial.runs}
    assert not used & {run.run_id for final in finals for run in final.candidate.runs}


def test_finalists_that_a_budget_left_out_are_left_to_the_next_call(searching: Searching):
    block = "  trials: 4\n  finalists: {count: 1, seeds: 4}\n"
    search = searching(block)

    def spend(now: Coordinator, sweep: Sweep) -> None:
        if now.finalists:
            sweep.budget = Budget(wall_time=1e-9)

    search.run(spend)
    begun = [run_id for run_id in started(search) if run_id not in trials_runs(search)]
    assert 0 < len(begun) < 8
    assert (search.unrun, search.left, search.failed) == (8 - len(begun), True, 0)
    again = run(searching(block))
    assert (again.unrun, again.left) == (0, False)
    assert len(started(again)) == search.unrun


def test_fresh_seeds_take_the_luck_away(searching: Searching):
    search = run(searching("  trials: 20\n  sampler: random\n  finalists: {count: 4, seeds: 5}\n", curve=lucky))
    [finals] = search.finals
    best = search.tunings[0].best(1)[0]
    assert best.values is not None
    assert best.values[0] < 0  # its own value is luck
    assert all(final.mean is not None and final.mean > 1.9 for final in finals)


def test_a_finalist_is_judged_beside_the_base_seed_by_seed(searching: Searching):
    head = HEAD.replace("tokens: 100000", "tokens: 100000, lr: 9e-2")
    search = run(searching("  trials: 12\n  finalists: {count: 1, seeds: 5}\n", head=head, curve=lucky))
    [[base, best]] = search.finals
    assert base.difference is None
    assert best.difference is not None
    assert best.difference.paired
    assert best.difference.mean is not None
    assert best.difference.mean < 0
    assert best.difference.verdict == "better"


def test_tuned_arms_are_compared_with_each_other(searching: Searching):
    head = HEAD + "ablate: {model.memory.depth: [1]}\n"
    search = run(searching("  trials: 6\n  finalists: {count: 2, seeds: 4}\n", head=head, curve=lucky))
    between = tuned(search.tunings, search.finals)
    assert [final.arm for final in between] == ["base", "memory.depth=1"]
    assert all(final.candidate.number is not None for final in between)
    assert between[1].difference is not None
    assert between[1].difference.verdict == "worse"


def test_a_second_call_runs_nothing_and_says_the_same(searching: Searching):
    block = "  trials: 6\n  finalists: 2\n"
    first = run(searching(block))
    second = run(searching(block))
    assert second.executor.started == []  # type: ignore[attr-defined]
    assert second.finals == first.finals
    shown = searching(block)
    shown.load()
    assert shown.finals == first.finals


def test_the_views_have_trials_and_finalists(searching: Searching):
    space = RATE + "    model.memory.depth: {int: [1, 3]}\n"
    block = "  trials: 10\n  pruner: {name: median, n_startup_trials: 2}\n  finalists: {count: 2, seeds: 2}\n"
    search = run(searching(block, space))
    sql = (
        "select number, state, params->>'train.lr' as lr, value, metric, direction, search from trials order by number"
    )
    rows = query(search.store.root, sql).to_pylist()
    trials = list(search.tunings[0].trials.values())
    assert [row["state"] for row in rows] == [trial.state for trial in trials]
    assert [float(row["lr"]) for row in rows] == [trial.params["train.lr"] for trial in trials]
    assert [row["value"] for row in rows] == [trial.values and trial.values[0] for trial in trials]
    assert {(row["metric"], row["direction"], row["search"]) for row in rows} == {
        ("loss", "minimize", search.tunings[0].goal.name)
    }
    sql = "select number, seed, loss from finalists join runs using (run_id, seed) order by number nulls first, seed"
    finals = query(search.store.root, sql).to_pylist()
    assert [row["seed"] for row in finals] == [1, 2] * 3
    assert finals[0]["number"] is None
    joined = (
        "select count(*) as n from (select unnest(from_json(run_ids, '[\"VARCHAR\"]')) as run_id from trials) "
        "join runs using (run_id)"
    )
    assert query(search.store.root, joined).to_pylist()[0]["n"] == 10


def test_a_damaged_trial_is_noted_and_left_out_of_the_view(searching: Searching):
    from titans_lab.store.query import ask

    search = run(searching("  trials: 3\n"))
    search.tunings[0].folder.trial_path(1).write_text('{"number": 1}')
    answer = ask(search.store.root, "select number from trials order by number")
    assert answer.table.column("number").to_pylist() == [0, 2]
    [damage] = answer.damage
    assert damage.reason == "is of another form: has no params"


def test_report_and_status_of_a_finished_search_tell_its_result(searching: Searching):
    search = run(searching("  trials: 6\n  finalists: {count: 1, seeds: 3}\n"))
    study, store = search.study, search.store
    runs = study.runs(lambda data: "0" * 64)
    told = study_report(study, runs, store.root)
    top = head(told.material, told.design, told.sections)
    assert top.verdict.startswith(("The best finalist, trial ", "No finalist has a "))
    assert top.progress == "Trials: 6 done."
    assert not any("Interim" in line or "not finished" in line for line in top.findings)
    assert "Runs not started" not in page(told)
    rows = study_status(shown_runs(study, runs, store), store)
    assert {row["state"] for row in rows} == {"done"}
    assert [row["run"].split()[0] for row in rows[:6]] == [f"trial={number}" for number in range(6)]
    assert [row["run"].split()[0] for row in rows[6:9]] == ["finalist=baseline"] * 3


def test_a_search_without_finalists_names_its_best_trial(searching: Searching):
    search = run(searching("  trials: 3\n"))
    told = study_report(search.study, search.study.runs(lambda data: "0" * 64), search.store.root)
    best = search.tunings[0].best(1)[0]
    expected = f"The best loss of 3 trials is {best.values[0]:.3f} (trial {best.number}: train.lr "
    assert head(told.material, told.design, told.sections).verdict.startswith(expected)


def test_status_of_a_study_whose_search_has_not_begun_shows_its_own_runs(searching: Searching):
    search = searching("  trials: 3\n")
    runs = search.study.runs(lambda data: "0" * 64)
    assert shown_runs(search.study, runs, search.store) == runs


PROXY = "  trials: 6\n  proxy: {train.tokens: 40000}\n"
FRESH = "  finalists: {count: 1, seeds: 4, base: false}\n"
RATES = "    train.lr: {choice: [1e-3, 4e-3, 1e-2]}\n"  # 4e-3 is the best
ARMS = HEAD + "question: Does depth help?\ngrid: {model.memory.depth: [1, 2]}\nbaseline: {model.memory.depth: 1}\n"


def test_trials_have_the_values_of_the_proxy_and_finalists_those_of_the_study(searching: Searching):
    search = run(searching(PROXY + "  finalists: {count: 1, seeds: 2, base: false}\n"))
    [tuning], [[best]] = search.tunings, search.finalists
    tokens = {
        name: Store(search.store.root).run(name).record()["config"]["train"]["tokens"] for name in trials_runs(search)
    }
    assert set(tokens.values()) == {40000}
    assert {each.config.train.tokens for each in best.runs} == {100000}
    assert best.number == tuning.best(1)[0].number
    assert [each.config.train.lr for each in best.runs] == [tuning.best(1)[0].params["train.lr"]] * 2


def test_another_proxy_is_another_search(searching: Searching):
    names = [searching(block).tunings[0].goal.name for block in ("", PROXY, PROXY.replace("40000", "50000"))]
    assert len(set(names)) == 3


def test_the_best_trial_is_chosen_by_its_search_and_not_by_the_fresh_seeds(searching: Searching):
    search = run(
        searching("  trials: 20\n  sampler: random\n  finalists: {count: 4, seeds: 5}\n", head=ARMS, curve=lucky)
    )
    for tuning, found in zip(search.tunings, tuned(search.tunings, search.finals), strict=True):
        assert found.candidate.number == tuning.best(1)[0].number


def test_a_report_on_a_study_whose_arms_were_tuned_compares_them_with_fresh_seeds(searching: Searching):
    search = run(searching(f"{PROXY}  sampler: grid\n{FRESH}", RATES, ARMS, noisy))
    study, store = search.study, search.store
    told = study_report(study, study.runs(lambda data: "0" * 64), store.root)
    assert [arm.label for arm in told.design.arms] == ["depth 1", "depth 2"]
    assert {run.run_id for run in told.material.study.runs} == {
        run.run_id for [best] in search.finalists for run in best.runs
    }
    assert {run.config.train.lr for run in told.material.study.runs} == {4e-3}
    top = head(told.material, told.design, told.sections)
    assert top.verdict.startswith("depth 2 is better than the baseline (depth 1): -")
    assert "4 seeds" in top.verdict
    points = "depth 1: train.lr 0.004; depth 2: train.lr 0.004"
    assert f"Each arm is at the best point of its own search. {points}." in top.findings
    assert "fresh seeds have not tested it" not in page(told)
    assert check(write(page(told), store.report_path(told.material.study.name, ".html")), store.root) == Checked(())


def test_a_study_that_was_swept_is_reported_by_its_own_runs(searching: Searching):
    search = run(searching(f"{PROXY}  sampler: grid\n{FRESH}", RATES, ARMS, noisy))
    study, store = search.study, search.store
    runs = study.runs(lambda data: "0" * 64)
    Sweep(store, search.executor, search.devices, record_runs(runs, store)).run(lambda _: None)
    assert {run.run_id for run in study_report(study, runs, store.root).material.study.runs} == {
        run.run_id for run in runs
    }
