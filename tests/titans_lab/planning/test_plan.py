from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pasts import ENV, finish
from workbench import Workbench

from titans.models.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.executors.devices import cores
from titans_lab.planning.expected import step_flops
from titans_lab.planning.history import read_history
from titans_lab.planning.plan import Plan, expected_seconds, plan, probe, smallest_and_largest
from titans_lab.report.differences import compare_arms
from titans_lab.report.render import study_report
from titans_lab.run import derived
from titans_lab.run.run import Run
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

DEVICES = cores()[:1] * 2


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def planned(bench: Workbench, *overrides: str) -> Plan:
    return plan(bench.runs(*overrides), bench.store, DEVICES)


def by_law(run: Run) -> float:
    """Seconds that follow the FLOPs of all steps."""
    return 1e-9 * step_flops(run.config) * run.config.train.steps


def test_a_row_has_the_runs_cost(bench: Workbench):
    runs = bench.runs("grid.model.memory.depth=[1, 3]", "seeds=2", "train.tokens=319")
    rows = plan(runs, bench.store, DEVICES).runs
    assert [(row.run_id, row.label) for row in rows] == [(run.run_id, run.label) for run in runs]
    for row, run in zip(rows, runs, strict=True):
        model, train = run.config.model, run.config.train
        assert row.tokens == derived.tokens(run.config) == 256  # whole steps of 64
        assert row.parameters == parameters(model)
        assert (
            row.flops
            == derived.flops(run.config)
            == 256 * train_flops_per_token(model, train.seq_len, train.batch_size)
        )
        assert row.state_bytes == state_bytes(model, train.seq_len)
    assert rows[0].parameters < rows[2].parameters


def test_a_row_has_the_runs_state(bench: Workbench):
    runs = bench.runs("seeds=4")
    folders = [bench.store.run(run.run_id) for run in runs]
    for folder in folders[1:]:
        folder.create({})
        attempt = folder.new_attempt()
    running = folders[2].latest()
    assert running
    Recorder(attempt, {}).commit("diverged", {})
    with running.claim.kept():
        rows = plan(runs, bench.store, DEVICES).runs
    assert [row.state for row in rows] == ["pending", "lost", "running", "diverged"]


def test_planning_writes_nothing(bench: Workbench):
    found = planned(bench, "seeds=3")
    assert not bench.store.root.exists()
    assert {(row.seconds, row.peak_bytes, row.new) for row in found.runs} == {(None, None, None)}
    assert (found.seconds, found.detectable, found.mixed) == (None, None, {})


def test_time_and_memory_are_learned_from_runs_on_this_hardware(bench: Workbench):
    finish(bench.runs("grid.model.dim=[16, 32, 64]"), bench.store, wall_seconds=by_law, peak_memory_bytes=3e8)
    other = bench.runs("model.dim=128", "seeds=[7]")
    finish(other, bench.store, {"device_name": "another"}, wall_seconds=99, peak_memory_bytes=9e9)
    [run] = bench.runs("model.dim=48", "train.tokens=2560")
    [row] = plan([run], bench.store, DEVICES).runs
    assert row.seconds is not None
    assert row.seconds.value == pytest.approx(by_law(run), rel=1e-6)
    assert row.seconds.examples == 3
    assert row.peak_bytes is not None
    assert row.peak_bytes.low is not None
    assert row.peak_bytes.low < 3e8 * 1.2


def test_what_is_expected_at_launch_is_what_the_plan_says_of_what_is_missing(bench: Workbench):
    finish(bench.runs("grid.model.dim=[16, 32, 64]"), bench.store, wall_seconds=by_law)
    runs = bench.runs("grid.model.dim=[16, 48]")
    expected = expected_seconds(runs, read_history(bench.store), DEVICES[0])
    assert expected == {run.run_id: run.seconds.value for run in plan(runs, bench.store, DEVICES).runs if run.seconds}
    assert list(expected) == [runs[1].run_id]
    assert expected_seconds(runs, read_history(Store(bench.root / "new")), DEVICES[0]) == {}


def test_a_precision_or_kernel_that_nothing_ran_with_is_unknown(bench: Workbench):
    finish(bench.runs("grid.model.dim=[16, 32, 64]"), bench.store, wall_seconds=by_law)
    assert planned(bench, "seeds=[3]").runs[0].seconds
    assert planned(bench, "seeds=[3]", "train.precision=bfloat16").runs[0].seconds is None
    assert planned(bench, "seeds=[3]", "speed.kernel=compiled").runs[0].seconds is None


def test_the_total_is_of_what_is_missing_and_at_least_the_longest_run(bench: Workbench):
    finish(bench.runs("seeds=2"), bench.store, wall_seconds=10.0)
    found = planned(bench, "seeds=7")
    assert len(found.missing) == 5
    assert found.seconds is not None
    assert found.seconds.value == pytest.approx(5 * 10 / 2)
    [one] = planned(bench, "seeds=3").missing
    assert one.seconds is not None
    assert planned(bench, "seeds=3").seconds == replace(one.seconds, same_shape=False)
    assert planned(bench, "seeds=2").seconds is None


def test_runs_on_several_devices_are_fewer_at_a_time_and_learned_apart(bench: Workbench):
    finish(bench.runs("seeds=2"), bench.store, wall_seconds=10.0)
    assert planned(bench, "seeds=6").at_once == 2
    found = planned(bench, "seeds=6", "speed.devices=2")
    assert (found.at_once, found.seconds) == (1, None)
    finish(bench.runs("seeds=[7]", "speed.devices=2"), bench.store, {"devices": 2}, wall_seconds=6.0)
    found = planned(bench, "seeds=6", "speed.devices=2")
    assert found.seconds is not None
    assert found.seconds.value == pytest.approx(4 * 6)
    assert planned(bench, "seeds=6").seconds != found.seconds


def test_novelty_is_the_fields_in_which_the_nearest_run_differs(bench: Workbench):
    store = bench.store
    finish(bench.runs("grid.train.lr=[1e-3, 1e-2]", "seeds=2"), store)
    finish(bench.runs("grid.model.dim=[16, 32]", "train.lr=5e-3"), store)
    rows = planned(bench, "grid.train.lr=[1e-2, 2e-2]", "seeds=[0, 9]").runs
    assert rows[0].new is None
    assert [(each.new and list(each.new.fields)) for each in rows[1:]] == [["seed"], ["train.lr"], ["seed", "train.lr"]]
    assert re.search(r"-> 9, lr (0\.001|0\.005|0\.01) -> 0\.02$", str(rows[3].new))  # equally near
    [row] = planned(bench, "model.dim=32", "train.lr=5e-3", "model.memory.chunk_size=16").runs
    assert row.new is not None
    assert row.new.fields == {"model.memory.chunk_size": (8, 16)}
    assert row.new.nearest in {run.run_id for run in bench.runs("model.dim=32", "train.lr=5e-3")}


def test_another_version_or_other_data_are_named_as_such(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    import titans

    finish(bench.runs(), bench.store)
    with monkeypatch.context() as patch:
        patch.setitem(titans.VERSIONS, "operator", 99)
        [row] = planned(bench).runs
    assert str(row.new) == "version of operator 1 -> 99"
    before = bench.runs()[0].data_hash
    bench.text.write_bytes(bench.text.read_bytes() + b"more")
    [row] = planned(bench).runs
    assert row.new is not None
    assert row.new.fields == {"data": (before, bench.runs()[0].data_hash)}


def test_a_run_of_the_same_task_is_nearer_than_any_other(bench: Workbench):
    mqar = ("task.name=mqar", "model.vocab_size=8192", "train.seq_len=64", "train.tokens=1280", "train.lr=1e-5")
    finish(bench.runs(*mqar), bench.store)
    finish(bench.runs("model.vocab_size=8192", "train.seq_len=64", "train.tokens=1280"), bench.store)
    [row] = planned(bench, *mqar[:-1]).runs
    assert row.new is not None
    assert row.new.nearest == bench.runs(*mqar)[0].run_id


def test_the_smallest_difference_comes_from_pairs_like_these(bench: Workbench):
    arms = "grid.train.lr=[1e-3, 1e-2]"
    noise = {0: 0.1, 1: 0.3, 2: 0.2, 3: 0.4}
    finish(
        bench.runs(arms, "seeds=4"),
        bench.store,
        loss=lambda run: 1 + run.seed + (noise[run.seed] if run.config.train.lr > 5e-3 else 0),
    )
    found = planned(bench, "grid.train.lr=[1e-3, 2e-3, 4e-3]", "seeds=5").detectable
    assert found is not None
    assert not found.own
    assert (found.seeds, found.arms, found.pairs) == (5, 2, 4)
    assert found.sd == pytest.approx(0.1291, abs=1e-4)
    assert found.difference is not None
    assert 0.2 < found.difference < 0.4
    assert planned(bench, "grid.train.lr=[1e-3, 2e-3]", "train.tokens=512", "seeds=5").detectable is None
    assert planned(bench, "seeds=5").detectable is None


def test_plan_and_report_give_one_detectable_difference_whatever_else_the_store_holds(bench: Workbench):
    arms = "grid.train.lr=[1e-3, 2e-3, 1e-2]"
    noise = {0: 0.1, 1: 0.3, 2: 0.2}

    def loss(run: Run) -> float:
        return 1 + run.seed + noise[run.seed] * run.config.train.lr * 100

    finish(bench.runs(arms, "seeds=3"), bench.store, loss=loss)
    unrelated = bench.runs("grid.model.dim=[16, 48]", "seeds=8")
    finish(unrelated, bench.store, loss=lambda run: 3.0 * run.seed**2 * run.config.model.dim)
    found = planned(bench, arms, "seeds=3").detectable
    told = study_report(load_study(bench.study, [arms, "seeds=3"]), bench.runs(arms, "seeds=3"), bench.store.root)
    reported = compare_arms(told.design, told.material.metric)
    assert found is not None
    assert found.own
    assert reported is not None
    assert found.difference == reported.detectable
    assert (found.seeds, found.arms, found.pairs) == (3, 2, 6)
    assert found.sd == pytest.approx((0.0001 * (1 + 9**2) / 2) ** 0.5)


def test_the_spread_is_pooled_over_arms_each_with_its_own_baseline(bench: Workbench):
    arms = "grid.train.lr=[1e-3, 1e-2]"
    for length, scale in ((32, 0.1), (16, 10.0)):

        def loss(run: Run, scale: float = scale) -> float:
            return 1 + run.seed + (scale * (run.seed + 1) ** 2 if run.config.train.lr > 5e-3 else 0)

        finish(bench.runs(arms, "seeds=3", f"train.seq_len={length}"), bench.store, loss=loss)
    kinds = "grid.train.seq_len=[32, 16]"  # each has its own batches, and its own baseline
    alone = planned(bench, arms, "seeds=5", "baseline={train.lr: 1e-3}").detectable
    both = planned(bench, kinds, arms, "seeds=5", "baseline={train.lr: 1e-3}").detectable
    assert alone is not None
    assert (alone.arms, alone.pairs) == (1, 3)
    assert both is not None
    assert (both.arms, both.pairs) == (2, 6)
    squares = np.var([1, 4, 9], ddof=1)
    assert alone.sd == pytest.approx((0.1**2 * squares) ** 0.5)
    assert both.sd == pytest.approx(((0.1**2 + 10**2) / 2 * squares) ** 0.5)


def test_finished_runs_that_ran_elsewhere_are_told(bench: Workbench):
    finish(bench.runs("seeds=[0, 1]"), bench.store)
    finish(bench.runs("seeds=[2]"), bench.store, {"torch": "2.9", "commit": ENV["commit"]})
    assert planned(bench, "seeds=4").mixed == {"torch": {"2.0": 2, "2.9": 1}}


@pytest.mark.parametrize(("digests", "mixed"), [("aa", {}), ("ab", {"commit": {"1": 1, "2": 1}})])
def test_commits_with_the_same_source_digest_are_no_mixture(bench: Workbench, digests: str, mixed: Any):
    for seed, digest in enumerate(digests):
        finish(bench.runs(f"seeds=[{seed}]"), bench.store, {"commit": str(seed + 1), "source_digest": digest})
    assert planned(bench, "seeds=2").mixed == mixed


def test_a_probe_stands_in_for_a_history(bench: Workbench):
    runs = bench.runs("grid.model.dim=[32, 16, 48]")
    assert smallest_and_largest(runs) == [runs[1], runs[2]]
    [measured] = probe(runs[:1], cores())
    assert measured.run_id == runs[0].run_id
    assert not bench.store.root.exists()
    found = plan(runs, bench.store, DEVICES, [measured])
    assert all(row.seconds and row.peak_bytes for row in found.runs)
    assert found.seconds is not None


@pytest.mark.parametrize(
    ("said", "env"),
    [
        ({"wall_seconds": -1e300}, {}),
        ({"wall_seconds": math.inf}, {}),
        ({"wall_seconds": math.nan}, {}),
        ({"wall_seconds": 5e-324}, {}),
        ({"wall_seconds": 1e308}, {}),
        ({"steps": -4}, {}),
        ({"peak_memory_bytes": -1}, {}),
        ({"peak_memory_bytes": 2**62}, {}),
        ({}, {"threads": [1]}),
        ({}, {"kernel": {"auto": 1}}),
    ],
)
def test_a_cost_that_no_run_can_have_takes_no_plan_away(bench: Workbench, said: dict[str, Any], env: dict[str, Any]):
    folders = bench.folders("seeds=3")
    bench.sweep("seeds=3")
    for folder in folders[:2]:
        figures = {"loss": 2.0, "score": 2.0, "steps": 4, "wall_seconds": 0.5, "peak_memory_bytes": 2**20} | said
        Recorder(folder.new_attempt(), ENV | env).commit("done", figures)
    for row in planned(bench, "seeds=3", "train.lr=0.01").runs:
        assert row.seconds is None or row.seconds.value >= 0
    ended = bench.call("plan", "train.lr=0.01")
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
