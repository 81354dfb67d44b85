"""reproduce."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from titans_lab.reproduce import TOLERANCE, compare
from titans_lab.store.files import read_json, write_json
from titans_lab.store.query import Snapshot
from titans_lab.store.store import Store


def copied(swept: Any, path: Path) -> Store:
    shutil.copytree(swept.bench.store.root, path)
    return Store(path)


def change(store: Store, run_id: str, part: str, **values: Any) -> None:
    """Another number in the record of a run, and the seal with it, as who is dishonest writes it."""
    path = store.run(run_id).status_path
    status = read_json(path)
    status[part] |= values
    write_json(path, status)


def finished(swept: Any) -> list[Any]:
    return [run for run in swept.bench.runs(*swept.overrides) if run.config.model.vocab_size == 256]


def test_honest_runs_are_reproduced_and_a_forged_one_is_not(cli: Any, swept: Any, tmp_path: Path):
    store = copied(swept, tmp_path / "store")
    diverged, done = finished(swept)
    change(store, done.run_id, "summary", loss=1.0, score=1.0)
    ended = cli("reproduce", swept.bench.study, *swept.overrides, "--runs", 5, "--json", "--store", store.root)
    assert ended.code == 3
    found = {each["run_id"]: each for each in json.loads(ended.out)}
    assert found.keys() == {diverged.run_id, done.run_id}
    assert all(each["exact"] and not each["why"] for each in found.values())
    assert found[diverged.run_id]["differences"] == []
    assert [line.partition(" recorded")[0] for line in found[done.run_id]["differences"]] == ["loss: 1.0", "score: 1.0"]
    assert found[done.run_id]["compared"] > 7  # what it logged, too


def test_on_another_device_a_loss_within_the_tolerance_passes_and_the_differences_are_named(swept: Any, tmp_path: Path):
    _, done = finished(swept)
    store, recorded = copied(swept, tmp_path / "store"), Snapshot(swept.bench.store.root)
    loss = store.run(done.run_id).status().summary["loss"]
    change(store, done.run_id, "env", threads=7)
    change(store, done.run_id, "summary", loss=loss * (1 + TOLERANCE / 2), score=loss)
    found = compare(done, recorded, Snapshot(store.root))
    assert (found.exact, found.why, found.differences) == (False, "threads: 1 recorded, 7 now", ())
    change(store, done.run_id, "summary", loss=loss * (1 + TOLERANCE * 2))
    assert compare(done, recorded, Snapshot(store.root)).differences[0].startswith(f"loss: {loss} recorded, ")


def test_without_finished_runs_there_is_nothing_to_reproduce(cli: Any, bench: Any):
    bench.store.root.mkdir()
    ended = cli("reproduce", bench.study, "--store", bench.store.root)
    assert ended.code == 2
    assert "has no finished run of it; sweep it first" in ended.err
