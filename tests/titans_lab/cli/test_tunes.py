"""`titans-lab tune` with real workers, and in this process where nothing is to be run."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from instant import InstantExecutor
from workbench import MINUTES, Workbench, alive, children, run, until, workers

from titans_lab.search.trial import Trial
from titans_lab.status import store_status

SEARCH = """
search:
  space:
    train.lr: {float: [1e-3, 1e-1], log: true}
    model.memory.depth: {int: [1, 2]}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench.at(tmp_path)
    bench.study.write_text(bench.study.read_text() + SEARCH)
    return bench


def command(bench: Workbench, *arguments: str) -> list[str]:
    return bench.command("tune", "--no-verify", *arguments)


def trials(bench: Workbench) -> list[Trial]:
    [search] = bench.store.searches()
    return [Trial.of(record) for record in search.trials()]


def test_a_search_from_file_to_json_database_and_sql(bench: Workbench, tmp_path: Path):
    database = tmp_path / "search.db"
    overrides = "search.trials=3", "search.finalists={count: 1, seeds: 1}", "search.pruner=median", "log.valid_every=1"
    done = run(command(bench, *overrides, "--max-parallel", "2", "--json", "--export", str(database)))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    [search] = found["searches"]
    assert search["states"] == {"done": 3}
    [study, searched] = store_status(bench.store)[0]
    assert study["study"] == f"{bench.study.stem}.finalists"
    assert {name: searched[name] for name in ("study", "runs", "done")} == {
        "study": f"{bench.study.stem} (search)",
        "runs": 3,
        "done": 3,
    }
    assert search["best"][0]["values"][0] == min(trial.values[0] for trial in trials(bench) if trial.values)
    [best, *_] = search["best"]
    assert search["overrides"] == [f"{key}={value}" for key, value in best["params"].items()]
    assert search["finalists"][0]["candidate"] == "base"
    assert done.stderr.count("done       trial ") == 3
    finalists = re.findall(
        r"^done       finalist (base|trial \d), seed 1  loss \d\.\d+  \[\d\]$", done.stderr, re.MULTILINE
    )
    assert len(set(finalists)) == 2
    assert [len(trial.reports) for trial in trials(bench)] == [4, 4, 4]
    study = optuna.load_study(study_name=search["search"], storage=f"sqlite:///{database}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    rows = bench.ask("select count(*) as n from trials where value is not null")
    assert rows == [{"n": 3}]
    assert bench.ask("select count(distinct run_id) as n from finalists join runs using (run_id)") == [{"n": 2}]

    again = run(command(bench, *overrides, "--no-run", "--json"))
    assert json.loads(again.stdout) == found


def test_finalists_that_the_budget_left_out_are_said_and_exit_with_3(bench: Workbench):
    assert run(command(bench, "search.trials=1")).returncode == 0
    done = run(command(bench, "search.trials=1", "search.finalists={count: 1, seeds: 2}", "budget.wall_time=0.000001s"))
    assert (done.returncode, "the budget is spent; the same command continues" in done.stderr) == (3, True), done.stderr
    assert bench.ask("select count(*) as n from runs where state = 'done'") == [{"n": 1}]


def test_a_search_has_the_options_and_the_end_of_a_sweep(bench: Workbench, cli, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    curves: list[list[float | str]] = [[2.0], [2.0] * 1000, ["failed"]]
    monkeypatch.setattr("titans_lab.search.coordinator.LocalExecutor", lambda: InstantExecutor(lambda *_: curves[-1]))
    monkeypatch.setattr("titans_lab.store.compaction.WORTHWHILE", 3)
    arguments = ("tune", bench.study, "search.trials=4", "search.enqueue={train.lr: 2e-3}")
    how = ("--no-verify", "--max-parallel", "1", "--store", bench.store.root)
    first = cli(*arguments, "--fail-fast", *how)
    assert (first.code, [trial.state for trial in trials(bench)]) == (3, ["failed"])
    assert "a run failed; the same command continues" in first.err
    curves.pop()
    second = cli(*arguments, "--timeout", "0.000001s", *how)
    assert (second.code, {trial.why for trial in trials(bench)}) == (
        3,
        {"took more than the 1e-06 s that --timeout allows"},
    )
    curves.pop()
    third = cli(*arguments, *how)
    assert (third.code, {trial.state for trial in trials(bench)}) == (0, {"done"})
    assert "compacted 4 runs, so that queries stay fast" in third.err


def test_a_coordinator_killed_again_and_again_loses_no_trial_and_has_none_twice(bench: Workbench):
    draw = random.Random(0)
    arguments = "search.trials=4", "log.every=1", "--max-parallel", "2"
    for _ in range(2):
        coordinator = subprocess.Popen(command(bench, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: workers(bench.root), "a worker")
        time.sleep(draw.uniform(0, 3))
        os.kill(coordinator.pid, signal.SIGKILL)
        coordinator.communicate(timeout=MINUTES)
    done = run(command(bench, *arguments))
    assert done.returncode == 0, done.stderr
    assert [trial.number for trial in trials(bench)] == [0, 1, 2, 3]
    assert {trial.state for trial in trials(bench)} == {"done"}
    names = [name for trial in trials(bench) for name in trial.runs]
    assert len(names) == len(set(names)) == 4
    assert bench.ask("select count(*) as n from runs where state = 'done'") == [{"n": 4}]
    assert not workers(bench.root)


def test_an_interrupted_search_leaves_no_worker_and_says_how_to_go_on(bench: Workbench):
    coordinator = bench.start("tune", "--no-verify", "search.trials=4", "train.tokens=10000000")
    [pid] = until(lambda: children(coordinator.pid, "titans_lab.training.serve")[:1], "a worker")
    coordinator.send_signal(signal.SIGINT)
    _, words = coordinator.communicate(timeout=MINUTES)
    assert coordinator.returncode == 130, words
    assert "the same command continues from here" in words
    assert not alive(pid)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.trials=0", "override search.trials=0: search.trials: 0 is not a count"),
        ("search.metric=accuracy", "override search.metric=accuracy: search.metric: runs record no accuracy"),
        ("search.sampler={name: tpe, startup: 3}", "search.sampler.startup: no option of tpe; did you mean"),
        ("search={space: {train.lr: {float: [2, 1]}}}", "the range is upside down; write [1.0, 2.0]"),
        ("search={space: {train.rl: {float: [1, 2]}}}", "unknown key; did you mean train.lr"),
        ("log.valid_every=0", ""),
    ],
)
def test_bad_input_is_exit_code_2_with_its_place(bench: Workbench, cli, override: str, words: str):  # type: ignore[no-untyped-def]
    more = ["search.pruner=median"] if not words else []
    done = cli("tune", bench.study, override, *more, "--store", bench.store.root)
    assert done.code == 2
    assert (words or "log.valid_every is 0 and a run has 4 steps; set it from 1 to 3, or remove it") in done.err
    assert not bench.store.root.exists()


def test_a_study_without_a_search_is_told_what_to_write(tmp_path: Path, cli):  # type: ignore[no-untyped-def]
    bench = Workbench.at(tmp_path)
    done = cli("tune", bench.study, "--store", bench.store.root)
    assert done.code == 2
    assert "no search; say what to look for" in done.err
