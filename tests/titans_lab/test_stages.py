"""Runs that begin with other runs: real sweeps of parents and children, and what a store from elsewhere may claim."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from instant import InstantExecutor
from workbench import MINUTES, Workbench, begun, until

from titans_lab.errors import UserError
from titans_lab.executors.devices import cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.launch import load, orphan_warnings
from titans_lab.run.run import Run
from titans_lab.status import study_status
from titans_lab.store.archive import bring, export
from titans_lab.store.check import faults
from titans_lab.store.claims import NOBODY, Holder
from titans_lab.store.files import write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import query
from titans_lab.store.recorder import commit
from titans_lab.store.store import Store
from titans_lab.sweep import Share, Sweep, record_runs
from titans_lab.training.weights import beginning_of

STAGES = """
studies:
  short: {base: {log: {keep_state: true}}}
  long: {base: {train: {seq_len: 64}, init: {arm: short}}}
  more: {base: {train: {tokens: 512}, init: {arm: short, weights_only: false}}}
  whole: {base: {train: {tokens: 768}}}
"""
TWO = """
studies:
  short: {}
  long: {base: {train: {seq_len: 64}, init: {arm: short}}}
"""
CONSTANT = (
    "train.min_lr_ratio=1",
    "train.warmup_ratio=0",
    "log.every=1",
)  # so that a budget in two parts has the rates of one


def staged(root: Path, text: str = STAGES) -> Workbench:
    bench = Workbench.at(root)
    bench.study.write_text(bench.study.read_text() + text)
    return bench


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return staged(tmp_path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A sweep of a parent and its children, by two workers."""
    bench = staged(tmp_path_factory.mktemp("stages"))
    sweep = bench.sweep(*CONSTANT)
    sweep.run(lambda now: None)
    assert set(sweep.ended.values()) == {"done"}, sweep.ended
    return bench


def named(bench: Workbench, *overrides: str) -> dict[str, Run]:
    return {run.factors["study"]: run for run in bench.runs(*overrides)}


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    latest = folder.latest()
    assert latest
    return torch.load(latest.weights_path, weights_only=True)


def test_children_begin_with_the_weights_that_their_parent_ended_with(swept: Workbench):
    runs = named(swept, *CONSTANT)
    rows = {row["run_id"]: row for row in swept.ask("select * from runs")}
    parent = swept.store.run(runs["short"].run_id).status()
    assert parent
    [digest] = [each["sha256"] for name, each in parent.files.items() if name.endswith("weights.pt")]
    for name, steps in (("long", 0), ("more", 4)):
        row = rows[runs[name].run_id]
        assert (row["parent"], row["steps_before"], row["init_weights"]) == (runs["short"].run_id, steps, digest)
    assert rows[runs["short"].run_id]["parent"] is None
    assert rows[runs["short"].run_id]["finished"] <= min(
        rows[runs[name].run_id]["started"] for name in ("long", "more")
    )


def test_a_training_that_goes_on_has_the_bits_of_one_training(swept: Workbench):
    runs = named(swept, *CONSTANT)
    more, whole = (weights(swept.store.run(runs[name].run_id)) for name in ("more", "whole"))
    assert all(torch.equal(more[name], whole[name]) for name in whole)
    lines = {
        name: swept.ask(f"select loss, lr from metrics where run_id = '{runs[name].run_id}' order by step")
        for name in ("more", "whole")
    }
    assert lines["more"][-1]["loss"] == lines["whole"][-1]["loss"]


def test_only_runs_that_are_asked_to_keep_their_state(swept: Workbench):
    kept = {folder.run_id for folder in swept.store.folders() for _ in folder.path.rglob("state.pt")}
    assert kept == {named(swept, *CONSTANT)["short"].run_id}
    assert not faults(swept.store)


def test_the_report_and_the_plan_name_the_parent(swept: Workbench):
    runs = named(swept, *CONSTANT)
    told = json.loads(swept.call("plan", *CONSTANT, "--format", "json").stdout)
    parents = {row["run_id"]: row["parent"] for row in told["runs"]}
    assert parents[runs["long"].run_id] == runs["short"].run_id
    assert parents[runs["whole"].run_id] is None
    assert told["orphans"] == {}
    page = swept.root / "page.html"
    done = swept.call("report", *CONSTANT, "--output", str(page))
    assert done.returncode == 0, done.stderr
    assert ">parent<" in page.read_text()


def test_an_archive_of_a_child_alone_is_imported_and_says_what_it_lacks(swept: Workbench, tmp_path: Path):
    runs = named(swept, *CONSTANT)
    child, parent = runs["long"].run_id, runs["short"].run_id
    export(swept.store, [child], [], tmp_path / "child.tar.gz")
    export(swept.store, [child, parent], [], tmp_path / "both.tar.gz")
    alone = bring(Store(tmp_path / "alone"), tmp_path / "child.tar.gz")
    assert (alone.orphans, alone.refused) == ([(child, parent)], [])
    assert Store(tmp_path / "alone").run(child).state() == "done"
    assert bring(Store(tmp_path / "both"), tmp_path / "both.tar.gz").orphans == []


def test_a_run_by_its_id_begins_with_a_run_of_another_study(swept: Workbench, tmp_path: Path):
    parent = named(swept, *CONSTANT)["short"].run_id
    other = Workbench.at(tmp_path)
    [child] = other.runs(f"init.run={parent}", "init.weights_only=false")
    waiting = record_runs([child], swept.store)
    sweep = Sweep(swept.store, LocalExecutor(), cores()[:1], waiting)
    sweep.run(lambda now: None)
    assert sweep.ended == {child.run_id: "done"}
    [row] = swept.ask(f"select parent, steps_before from runs where run_id = '{child.run_id}'")
    assert row == {"parent": parent, "steps_before": None}


def test_a_child_that_was_killed_goes_on_from_its_checkpoint(tmp_path: Path):
    endless = "seq_len: 64, tokens: 12800}, log: {every: 1, checkpoint_seconds: 0}"
    bench = staged(tmp_path, TWO.replace("seq_len: 64}", endless))
    folder = bench.store.run(named(bench)["long"].run_id)
    sweep = bench.start("sweep")
    until(lambda: begun(folder), "the child's first line of metrics")
    sweep.kill()
    sweep.communicate()
    until(lambda: folder.state() != "running", "the end of the child's worker")
    again = bench.call("sweep")
    assert again.returncode == 0, again.stderr
    [row] = bench.ask("select run_id, resumed_from, init_weights from runs where parent is not null")
    assert row["run_id"] == folder.run_id
    assert row["resumed_from"]["attempt"] == 1
    assert row["init_weights"] == Attempt(folder.path / "attempts" / "1").env()["init_weights"]


def test_workers_that_share_a_store_train_children_behind_their_parents(tmp_path: Path):
    bench = staged(tmp_path, TWO)
    workers = [bench.start("work", "--no-verify", "seeds=2") for _ in range(2)]
    for worker in workers:
        said = worker.communicate(timeout=MINUTES)[1]
        assert worker.returncode == 0, said
    assert [(folder.state(), len(folder.attempts())) for folder in bench.folders("seeds=2")] == [("done", 1)] * 4


def test_a_worker_waits_for_a_parent_that_another_one_trains(tmp_path: Path):
    bench = staged(tmp_path, TWO)
    runs = named(bench)
    record_runs(list(runs.values()), bench.store)
    held = bench.store.run(runs["short"].run_id).new_attempt(Holder.of(os.getpid()))
    looks: list[int] = []
    executor = InstantExecutor(lambda *_: [1.0])
    sweep = Sweep(bench.store, executor, cores()[:1], list(runs.values()), share=Share())

    def look(now: Sweep) -> None:
        looks.append(len(now.waiting))
        if len(looks) == 3:
            held.weights_path.write_bytes(b"any")
            commit(held, "done", {})
            held.claim.write(NOBODY, 0)

    sweep.run(look)
    assert looks[:3] == [2, 2, 2]
    assert executor.started == [runs["long"].run_id]
    assert sweep.skipped == {runs["short"].run_id: "done"}


@pytest.mark.parametrize(("end", "words"), [("failed", "is failed"), (math.nan, "diverged")])
def test_a_parent_without_weights_leaves_its_children_with_the_reason(bench: Workbench, end: Any, words: str):
    runs = named(bench)
    executor = InstantExecutor(lambda config, seed: [end if config.log.keep_state else 1.0])
    sweep = Sweep(bench.store, executor, cores()[:2], record_runs(bench.runs("seeds=2"), bench.store))
    sweep.run(lambda now: None)
    assert len(sweep.orphans) == 4
    assert words in sweep.orphans[runs["long"].run_id]
    assert runs["whole"].run_id in sweep.ended
    [row] = study_status([runs["long"]], bench.store)
    assert words in row["error"]


def test_a_parent_of_another_study_is_named_with_the_command_that_trains_it(bench: Workbench, tmp_path: Path):
    child = tmp_path / "child.yaml"
    text = bench.study.read_text().split("studies:")[0]
    child.write_text(text.replace("base:", "base:\n  init: {study: tiny.yaml, arm: short}"))
    _, runs = load(child, ())
    [warning] = orphan_warnings(runs, runs, bench.store)
    command = f"titans-lab sweep {tmp_path / 'tiny.yaml'}"
    assert warning.endswith(f"is pending; to train it: {command}")
    sweep = Sweep(bench.store, InstantExecutor(lambda *_: [1.0]), cores()[:1], record_runs(runs, bench.store))
    sweep.run(lambda now: None)
    assert command in sweep.orphans[runs[0].run_id]
    assert not sweep.started


@pytest.fixture
def finished(swept: Workbench, tmp_path: Path) -> tuple[Store, Run]:
    """A store of a finished parent, which the test may damage, and a child."""
    runs = named(swept, *CONSTANT)
    export(swept.store, [runs["short"].run_id], [], tmp_path / "parent.tar.gz")
    store = Store(tmp_path / "results")
    bring(store, tmp_path / "parent.tar.gz")
    record_runs([runs["long"]], store)
    return store, runs["long"]


def test_weights_that_are_not_what_was_committed_start_no_run(finished: tuple[Store, Run]):
    store, child = finished
    assert child.parent
    [path] = store.run(child.parent.run_id).path.rglob("weights.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights.pt: is not what status.json committed"):
        beginning_of(child.config, store.run(child.run_id).record(), store)


@pytest.mark.parametrize("parent", ["../../outside", "..", "/etc", "a/b", ".hidden", 7])
def test_a_record_whose_parent_leads_out_of_the_store_is_damaged(finished: tuple[Store, Run], parent: object):
    store, child = finished
    folder = store.run(child.run_id)
    write_json(folder.record_path, folder.record() | {"parent": parent})
    with pytest.raises(UserError, match=r"run.json: is of another form: parent"):
        folder.record()
    assert [fault.damage.path for fault in faults(store)] == [folder.record_path]


def test_a_link_in_place_of_a_parent_is_refused(finished: tuple[Store, Run], tmp_path: Path):
    store, child = finished
    assert child.parent
    path = store.run(child.parent.run_id).path
    path.rename(tmp_path / "elsewhere")
    record = store.run(child.run_id).record()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of"):
        beginning_of(child.config, record, store)


def test_records_that_are_each_others_parents_are_read_like_any_other(finished: tuple[Store, Run]):
    store, child = finished
    assert child.parent
    for one, other in ((child.run_id, child.parent.run_id), (child.parent.run_id, child.run_id)):
        folder = store.run(one)
        write_json(folder.record_path, folder.record() | {"parent": other})
    assert not faults(store)
    rows = query(store.root, "select run_id, parent from runs").to_pylist()
    assert {row["run_id"]: row["parent"] for row in rows} == {
        child.run_id: child.parent.run_id,
        child.parent.run_id: child.run_id,
    }
