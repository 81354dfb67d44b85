"""Whatever happens to one file, the others are read and the damage is named."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from titans_lab.store.columns import LOGS
from titans_lab.store.files import Damage
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import ask
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader

#: The records that are damaged, and the views that read them.
RECORDS = {
    "run.json": ["runs"],
    "status.json": ["runs", "metrics", "memory"],
    "metrics.parquet": ["metrics"],
    "memory.parquet": ["memory"],
    "env.json": ["runs"],
    "metrics.jsonl": ["metrics"],
    "memory.jsonl": ["memory"],
    "depth.json": ["studies"],
    "d1.json": ["ngram_baselines"],
    "b1.json": ["benches"],
}
NOISE = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "lines": b"\n\n",
    "object": b"{}\n",
    "list": b"[]\n",
    "random": b"\n" + random.Random(0).randbytes(500),
}
#: A record of nothing; a log whose last line a kill cut off.
HARMLESS = {("env.json", "object")} | {
    (f"{log}.jsonl", noise) for log in LOGS for noise in ("empty", "zeros", "object")
}


@pytest.fixture
def full_store(store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]) -> Store:
    """One live run, two ended ones, a study, baselines and benches."""
    ended_run("a1", steps=2, memory=2)
    ended_run("a2", steps=2, memory=2)
    live_run("a3", steps=2, memory=2)
    store.save_study({"name": "depth", "question": "?", "expect": "!", "runs": [{"run_id": "a1", "factors": {"x": 1}}]})
    store.save_study({"name": "other", "question": "?", "expect": "!", "runs": [{"run_id": "a1", "factors": {"x": 1}}]})
    store.save_ngram_baseline("d1", {"data_hash": "d1", "bits_per_byte": {"0": 4.5}})
    store.save_ngram_baseline("d2", {"data_hash": "d2", "bits_per_byte": {"0": 4.5}})
    store.save_bench("b1", {"bench": "b1", "rows": [{"ratio": 1.5}]})
    store.save_bench("b2", {"bench": "b2", "rows": [{"ratio": 1.5}]})
    return store


def record_path(store: Store, name: str) -> Path:
    """The record that the tests damage: of the ended run a1 or the live run a3, a study, baselines or a bench."""
    places = ["runs/a1", "runs/a3/attempts/1", "runs/a1/attempts/1", "studies", "ngram_baselines", "benches"]
    return next(path for place in places if (path := store.root / place / name).exists())


def others(reader: Reader, views: list[str]) -> dict[str, int]:
    """How many rows of these views belong to records that stay whole."""
    whole = {"runs": ("run_id", "a2"), "metrics": ("run_id", "a2"), "memory": ("run_id", "a2")}
    whole |= {"studies": ("study", "other"), "ngram_baselines": ("data_hash", "d2"), "benches": ("bench", "b2")}
    return {view: reader.table(view)[whole[view][0]].to_pylist().count(whole[view][1]) for view in views}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_cut_at_every_byte(full_store: Store, name: str) -> None:
    path = record_path(full_store, name)
    content = path.read_bytes()
    complete = {content, content.removesuffix(b"\n")}
    rows = others(Reader(full_store), RECORDS[name])
    assert all(rows.values())
    stride = {"metrics.parquet": 5, "memory.parquet": 25}.get(name, 1)
    for length in range(0, len(content) + 1, stride):
        path.write_bytes(content[:length])
        reader = Reader(full_store)
        assert others(reader, RECORDS[name]) == rows
        harmless = content[:length] in complete or name.endswith(".jsonl")  # a kill leaves a torn last line
        assert {noted.path for noted in reader.damage} == (set() if harmless else {path}), f"cut at {length}"


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("noise", NOISE)
def test_a_record_replaced_by_noise(full_store: Store, name: str, noise: str) -> None:
    path = record_path(full_store, name)
    path.write_bytes(NOISE[noise])
    sql = """
        select (select count(*) from runs), (select count(*) from metrics where run_id = 'a2'),
            (select count(*) from memory where run_id = 'a2'),
            (select count(*) from studies where study = 'other'),
            (select count(*) from ngram_baselines where data_hash = 'd2'),
            (select count(*) from benches where bench = 'b2')
    """
    answer = ask(full_store.root, sql)
    (row,) = answer.table.to_pylist()
    assert list(row.values()) == [3, 2, 2, 1, 1, 1]
    assert {noted.path for noted in answer.damage} == (set() if (name, noise) in HARMLESS else {path})


def test_every_flipped_byte_of_parquet_is_noticed(full_store: Store) -> None:
    path = record_path(full_store, "metrics.parquet")
    content = path.read_bytes()
    for index in range(0, len(content), 7):
        path.write_bytes(content[:index] + bytes([content[index] ^ 4]) + content[index + 1 :])
        answer = Reader(full_store)
        assert set(answer.table("metrics")["run_id"].to_pylist()) == {"a2", "a3"}
        assert answer.damage == [Damage(path, "is not what status.json committed (size or SHA-256 differ)")]


@pytest.mark.parametrize(
    ("name", "rows"), [("run.json", [3, 6, 6]), ("metrics.parquet", [3, 4, 6]), ("memory.parquet", [3, 6, 4])]
)
def test_a_record_that_is_missing_is_named(full_store: Store, name: str, rows: list[int]) -> None:
    path = record_path(full_store, name)
    path.unlink()
    sql = "select (select count(*) from runs), (select count(*) from metrics), (select count(*) from memory)"
    answer = ask(full_store.root, sql)
    assert [list(row.values()) for row in answer.table.to_pylist()] == [rows]
    assert answer.damage == (Damage(path, "is missing"),)


def test_a_line_that_is_no_json_is_named_and_the_others_read(full_store: Store) -> None:
    path = record_path(full_store, "metrics.jsonl")
    path.write_bytes(b'{"step": 1}\n{"step": \n[]\n{"step": 4, "loss": "low"}\n{"st')
    answer = ask(full_store.root, "select step, loss from metrics where run_id = 'a3' order by step")
    assert answer.table.to_pylist() == [{"step": 1, "loss": None}, {"step": 4, "loss": None}]
    assert [damage.path for damage in answer.damage] == [path] * 3
    assert [damage.reason.split(":")[0] for damage in answer.damage] == ["line 2", "line 3", "line 4"]


def test_damage_that_two_views_meet_is_told_once(full_store: Store) -> None:
    path = record_path(full_store, "status.json")
    path.write_bytes(b"")
    answer = ask(full_store.root, "select count(*) from runs join metrics using (run_id)")
    assert [damage.path for damage in answer.damage] == [path]


WORK = """
import itertools, os, sys
from pathlib import Path
from titans_lab.store.store import Store
from titans_lab.store.claims import Holder
from titans_lab.store.recorder import Recorder, commit_dead
import pyarrow.parquet

store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for number in itertools.count():
    folder = store.run(f"a{number}")
    folder.create({"run_id": folder.run_id, "seed": number, "data_hash": "d", "versions": {}, "config": {}})
    if folder.state() == "done":
        continue
    if folder.state() == "lost":
        commit_dead(folder.latest(), "failed", "killed")
    recorder = Recorder(folder.new_attempt(Holder.of(os.getpid())), {"host": "laptop"})
    for step in range(20):
        recorder.log(step=step, loss=1.0 / (step + 1))
    recorder.commit("done", {"steps": 20})
    store.save_study({"name": "depth", "runs": [{"run_id": folder.run_id, "factors": {"number": number}}]})
"""


def test_a_kill_at_any_moment_leaves_nothing_damaged(store: Store) -> None:
    delays = random.Random(0)
    sql = """
        select run_id, state, list(step order by step) filter (step is not null) as steps
        from runs left join metrics using (run_id) group by all
    """
    seen = set()
    for _ in range(10):
        command = [sys.executable, "-c", WORK, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            time.sleep(delays.uniform(0.0, 0.2))
            worker.kill()
        assert worker.returncode == -signal.SIGKILL
        answer = ask(store.root, sql)
        assert answer.damage == ()
        for row in answer.table.to_pylist():
            steps = row["steps"] or []
            assert steps == list(range(20 if row["state"] == "done" else len(steps)))
            seen.add(row["state"])
    assert {"done", "lost"} <= seen <= {"pending", "lost", "failed", "done"}


@pytest.mark.parametrize("name", RECORDS)
def test_a_flipped_bit_is_noticed_and_the_others_read(full_store: Store, name: str) -> None:
    path = record_path(full_store, name)
    content = path.read_bytes()
    rows = others(Reader(full_store), RECORDS[name])
    places = random.Random(0)
    for place in [len(content) - 1, *(places.randrange(len(content)) for _ in range(40))]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << places.randrange(8)]) + content[place + 1 :])
        reader = Reader(full_store)
        assert others(reader, RECORDS[name]) == rows
        assert {noted.path for noted in reader.damage} == {path}, f"flipped at {place}"
