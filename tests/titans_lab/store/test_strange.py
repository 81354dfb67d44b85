"""Records that are whole and of another form: they are named and left out, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from titans_lab.search.trial import Trial
from titans_lab.selection import Filter, named_runs, select
from titans_lab.status import store_status
from titans_lab.store import arrow
from titans_lab.store.check import faults, quarantine
from titans_lab.store.columns import VIEWS
from titans_lab.store.compacted import manifest_path
from titans_lab.store.compaction import compact
from titans_lab.store.files import DamagedError, read_json, write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import digest_of
from titans_lab.store.query import ask
from titans_lab.store.store import Store
from titans_lab.store.succession import can_halve, micro_batch
from titans_lab.store.tables import Reader

#: File, the dotted key of a value in it, and what stands there instead; "": the record is that.
STRANGE: list[tuple[str, str, Any]] = [
    ("runs/a1/run.json", "config", []),
    ("runs/a1/run.json", "config.model", 7),
    ("runs/a1/run.json", "config.model.dim", "wide"),
    ("runs/a1/run.json", "config.train.lr", "0.1"),
    ("runs/a1/run.json", "seed", "0"),
    ("runs/a1/run.json", "seed", True),
    ("runs/a1/run.json", "versions", []),
    ("runs/a1/run.json", "data_hash", 7),
    ("runs/a1/run.json", "parameters", "many"),
    ("runs/a1/run.json", "run_id", "a2"),
    ("runs/a1/run.json", "", {"run_id": "a1"}),
    ("runs/a1/status.json", "summary", []),
    ("runs/a1/status.json", "summary.loss", "low"),
    ("runs/a1/status.json", "summary.steps", 1.5),
    ("runs/a1/status.json", "attempt", "1"),
    ("runs/a1/status.json", "attempt", True),
    ("runs/a1/status.json", "attempt", -1),
    ("runs/a1/status.json", "finished", "yesterday"),
    ("runs/a1/status.json", "env", 7),
    ("runs/a1/status.json", "env.host", 7),
    ("runs/a1/status.json", "error", 7),
    ("runs/a1/status.json", "files", []),
    ("runs/a1/status.json", "files", {"attempts/1/metrics.parquet": 7}),
    ("runs/a1/status.json", "files", {"attempts/1/metrics.parquet": {"bytes": -1, "sha256": ""}}),
    ("runs/a1/status.json", "state", "asleep"),
    ("runs/a1/status.json", "state", []),
    ("runs/a3/attempts/1/env.json", "micro_batch", "8"),
    ("runs/a3/attempts/1/env.json", "micro_batch", 0),
    ("runs/a3/attempts/1/env.json", "oom_retries", []),
    ("runs/a3/attempts/1/env.json", "deterministic", "yes"),
    ("runs/a3/attempts/1/env.json", "host", {"name": "laptop"}),
    ("runs/a3/attempts/1/stop.json", "state", "asleep"),
    ("runs/a3/attempts/1/stop.json", "why", None),
    ("runs/a3/attempts/1/again.json", "why", 7),
    ("runs/a1/evals/e1.json", "rows", {}),
    ("runs/a1/evals/e1.json", "rows", [7]),
    ("runs/a1/evals/e1.json", "rows", [{"value": "high"}]),
    ("runs/a1/evals/e1.json", "finished", 7),
    ("studies/depth.json", "name", 7),
    ("studies/depth.json", "runs", {}),
    ("studies/depth.json", "runs", [7]),
    ("studies/depth.json", "runs", [{"factors": {}}]),
    ("studies/depth.json", "runs", [{"run_id": "../../x"}]),
    ("studies/depth.json", "runs", [{"run_id": "a1", "factors": [1]}]),
    ("studies/depth.json", "runs", [{"run_id": "a1", "factors": {"x": {}}}]),
    ("studies/depth.json", "runs", [{"run_id": "a1", "baseline": "yes"}]),
    ("studies/depth.json", "question", []),
    ("studies/depth.json", "metric", "loss"),
    ("studies/depth.json", "metric", {"name": "loss", "direction": "sideways", "taken": "final"}),
    ("ngram_baselines/d1.json", "bits_per_byte", []),
    ("ngram_baselines/d1.json", "bits_per_byte", {"x": 1.0}),
    ("ngram_baselines/d1.json", "bits_per_byte", {"0": "low"}),
    ("ngram_baselines/d1.json", "bits_per_byte", {"0": 10**400}),
    ("ngram_baselines/d1.json", "data_hash", 7),
    ("benches/b1.json", "rows", {}),
    ("benches/b1.json", "rows", [{"ratio": "fast"}]),
    ("benches/b1.json", "started", "yesterday"),
    ("searches/s1/search.json", "objectives", []),
    ("searches/s1/search.json", "objectives", [["loss", "loss"]]),
    ("searches/s1/search.json", "objectives", [["loss", "loss", "sideways"]]),
    ("searches/s1/search.json", "objectives", ["abc"]),
    ("searches/s1/search.json", "objectives", [["beauty", "beauty", "minimize"]]),
    ("searches/s1/search.json", "study", []),
    ("searches/s1/search.json", "study", "../../victim/REPORT"),
    ("searches/s1/trials/0.json", "params", []),
    ("searches/s1/trials/0.json", "params", {"train.lr": []}),
    ("searches/s1/trials/0.json", "values", "low"),
    ("searches/s1/trials/0.json", "values", ["low"]),
    ("searches/s1/trials/0.json", "runs", [7]),
    ("searches/s1/trials/0.json", "reports", {"first": 1.0}),
    ("searches/s1/trials/0.json", "limits", {"parameters": "few"}),
    ("searches/s1/trials/0.json", "by_seed", [7]),
    ("searches/s1/trials/0.json", "state", "asleep"),
    ("searches/s1/trials/0.json", "origin", 7),
    ("searches/s1/trials/0.json", "number", 1),
    ("searches/s1/trials/0.json", "steps", "many"),
    ("searches/s1/finalists.json", "runs", {}),
    ("searches/s1/finalists.json", "runs", [{"number": "first"}]),
    ("searches/s1/finalists.json", "runs", [{"number": 0, "params": {}, "seed": 1, "run_id": "/x"}]),
    ("verified/v1.json", "rows", 7),
]
IDS = [f"{name} {key}={json.dumps(value)[:60]}" for name, key, value in STRANGE]


@pytest.fixture
def filled(store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]) -> Store:
    """A record of every kind, and one more of most."""
    ended_run("a1").save_evaluation("e1", {"rows": [{"task": "needle", "value": 0.5, "count": 4}]})
    ended_run("a2").save_evaluation("e1", {"rows": [{"task": "needle", "value": 0.5, "count": 4}]})
    live = live_run("a3")
    live.ask_to_stop("pruned", "4")
    live.ask_again("4")
    for name in ("depth", "other"):
        store.save_study({"name": name, "question": "?", "runs": [{"run_id": "a1", "factors": {"x": 1}}]})
    for name in ("d1", "d2"):
        store.save_ngram_baseline(name, {"data_hash": name, "bits_per_byte": {"0": 4.5}})
    for name in ("b1", "b2"):
        store.save_bench(name, {"bench": name, "rows": [{"ratio": 1.5}]})
    for name in ("s1", "s2"):
        search = store.search(name)
        search.create({"study": "depth", "arm": "", "objectives": [["loss", "loss", "minimize"]], "seeds": 1})
        search.save_trial(Trial(0, "sampler", {"train.lr": 1e-2}, state="done", values=(2.0,), runs=("a1",)).plain())
        write_json(search.finalists_path, {"runs": [{"number": 0, "params": {}, "seed": 1, "run_id": "a1"}]})
    store.save_verified("v1", {"rows": []})
    return store


UNKNOWN = [
    ("model.variant", "mamba-9"),
    ("task.name", "chess"),
    ("model", None),
    ("model.dim", None),
    ("model.n_heads", 7),
]


@pytest.mark.parametrize(("key", "value"), UNKNOWN)
def test_a_configuration_of_another_version_is_named_and_left_out(filled: Store, key: str, value: Any) -> None:
    path = filled.run("a1").record_path
    change(path, f"config.{key}", value)
    rows, named = shown(filled)
    assert named == {path}
    assert [row["config"] is None for row in rows["runs"]] == [True, False, False]


def change(path: Path, key: str, value: Any) -> None:
    """Put a value into a record, and seal it again."""
    record = read_json(path)
    if key:
        *sections, last = key.split(".")
        place = record
        for section in sections:
            place = place[section]
        place[last] = value
    else:
        record = value
    write_json(path, record)


def shown(store: Store) -> tuple[dict[str, list[dict[str, Any]]], set[Path]]:
    """The rows of every view, and the records that were named."""
    reader = Reader(store)
    rows = {view: reader.table(view).to_pylist() for view in VIEWS}
    return rows, {damage.path for damage in reader.damage}


@pytest.mark.parametrize(("name", "key", "value"), STRANGE, ids=IDS)
def test_a_record_of_another_form_is_named_and_left_out(filled: Store, name: str, key: str, value: Any) -> None:
    path = filled.root / name
    before, named = shown(filled)
    assert named == set()
    change(path, key, value)
    rows, named = shown(filled)
    assert named <= {path}
    if not name.startswith("verified") and Path(name).name not in ("stop.json", "again.json"):  # which no view shows
        assert named == {path}
    for view, was in before.items():
        assert all(row in rows[view] for row in was if not _is_of(path, row)), view
    found = [fault for fault in faults(filled) if fault.damage.path == path]
    assert found
    assert all(fault.movable for fault in found)
    store_status(filled)
    select(filled, (), Filter.of(None, "seed == 0"))
    quarantine(filled, faults(filled))
    assert not path.exists()


def _is_of(path: Path, row: dict[str, Any]) -> bool:
    """Whether a row comes from the record, or from what belongs to it."""
    mine = ({"a1", "a3"}, {"depth"}, {"d1"}, {"b1"}, {"s1"})
    keys = ("run_id", "study", "data_hash", "bench", "search")
    return any(row.get(key) in names for key, names in zip(keys, mine, strict=True))


@pytest.mark.parametrize(
    "value", [{}, [7], {"a1": 7}, {"a1": [[1], "done", "then", "x", "y"]}, {"a1": [["x"], 1, 2, 3]}]
)
def test_a_manifest_of_another_form_is_named_and_not_used(filled: Store, value: Any) -> None:
    compact(filled)
    before = shown(filled)[0]
    path = manifest_path(filled.root)
    for key, wrong in (("runs", value if value != {} else []), ("files", value)):
        whole = read_json(path)
        change(path, key, wrong)
        rows, named = shown(filled)
        assert (rows, named) == (before, {path})
        assert path in [fault.damage.path for fault in faults(filled)]
        write_json(path, whole)


def test_runs_of_another_version_stay_where_they_are(filled: Store) -> None:
    """They are named and left out, and whoever wrote them finds them again."""
    path = filled.run("a1").record_path
    change(path, "config.model.variant", "mamba-9")
    assert shown(filled)[1] == {path}
    assert [(fault.damage.path, fault.movable) for fault in faults(filled)] == [(path, False)]
    compact(filled)
    assert shown(filled)[1] == {path}
    change(path, "plugins", {"my_mixer": "0" * 64})
    assert shown(filled)[1] == set()
    compact(filled)
    [row] = [row for row in select(filled, (), Filter()).rows if row["run_id"] == "a1"]
    assert row["state"] == "done"
    assert select(filled, (), Filter.of(None, "seed == 0")).ids == ["a2", "a3"]


def test_an_env_with_a_value_of_another_type_is_ignored(filled: Store) -> None:
    attempt = filled.run("a3").attempt(1)
    change(attempt.env_path, "micro_batch", "8")
    assert attempt.env() == {}
    assert not can_halve(attempt)
    later = filled.run("a3").new_attempt()
    assert micro_batch(later, 4) == {"micro_batch": 4, "oom_retries": 0}


def test_a_strange_request_to_stop_is_none(filled: Store) -> None:
    attempt = filled.run("a3").attempt(1)
    assert attempt.asked_to_stop() == ("pruned", "4")
    change(attempt.stop_path, "state", "asleep")
    assert attempt.asked_to_stop() is None


def test_a_strange_record_of_a_run_is_written_again(filled: Store) -> None:
    folder = filled.run("a1")
    record = folder.record()
    change(folder.record_path, "config.model.variant", "mamba-9")
    with pytest.raises(DamagedError):
        folder.record()
    folder.create(record)
    assert folder.record() == record


def test_a_strange_study_is_named_where_it_is_asked_for(filled: Store) -> None:
    assert named_runs(filled, "depth") == ["a1"]
    change(filled.root / "studies" / "depth.json", "runs", [7])
    with pytest.raises(DamagedError, match=r"studies/depth\.json: is of another form"):
        named_runs(filled, "depth")
    assert [damage.path.name for damage in store_status(filled)[1]] == ["depth.json"]


def test_keys_of_a_later_version_are_ignored(filled: Store) -> None:
    before = shown(filled)
    for name in {name for name, _, _ in STRANGE}:
        change(filled.root / name, "added_later", {"a": [1]})
    change(filled.run("a1").record_path, "config.model.added_later", "x")
    rows, named = shown(filled)
    assert named == set()
    assert {view: len(found) for view, found in rows.items()} == {view: len(found) for view, found in before[0].items()}
    assert [fault for fault in faults(filled) if fault.movable] == []


@pytest.mark.parametrize(
    "columns",
    [
        {"step": pa.array([1]), "step ": pa.array([2])},
        {"step": pa.repeat(pa.scalar(1), 3_000_000)},
    ],
    ids=["two columns of one name", "few bytes that become many rows"],
)
def test_parquet_that_no_run_writes_is_named_and_left_out(filled: Store, columns: dict[str, pa.Array]) -> None:
    run = filled.run("a1")
    names = [name.strip() for name in columns]
    content = arrow.parquet(pa.Table.from_arrays(list(columns.values()), names=names))
    path = run.metrics_path
    path.write_bytes(content)
    status = read_json(run.status_path)
    name = path.relative_to(run.path).as_posix()
    write_json(run.status_path, status | {"files": status["files"] | {name: digest_of(content)}})
    answer = ask(filled.root, "select run_id, count(*) from metrics group by all")
    assert "a1" not in [row["run_id"] for row in answer.table.to_pylist()]
    assert [str(damage).partition(": ")[0] for damage in answer.damage] == [str(path)]
    assert path in [fault.damage.path for fault in faults(filled)]
