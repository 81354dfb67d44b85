"""What is damaged in a store is found, and moved aside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from titans_lab.store.check import faults, quarantine
from titans_lab.store.checkpoints import drop_checkpoints, save_checkpoint
from titans_lab.store.compacted import manifest_path
from titans_lab.store.compaction import compact
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import ask
from titans_lab.store.store import Store

YEAR = 365 * 86400.0


@pytest.fixture
def filled(store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]) -> Store:
    ended_run("a1").save_evaluation("e1", {"rows": []})
    ended_run("a2", state="failed", error="boom")
    save_checkpoint(live_run("a3"), 4, lambda file: file.write(b"weights"))
    store.run("a3").attempt(1).ask_to_stop("pruned", "4")
    store.run("a3").attempt(1).ask_again("4")
    ended_run("a4").archive()
    store.save_study({"name": "depth", "runs": [{"run_id": "a1", "factors": {}}]})
    store.save_ngram_baseline("d1", {"data_hash": "d1", "bits_per_byte": {"0": 4.5}})
    store.save_bench("b1", {"bench": "b1", "rows": []})
    return store


def found(store: Store) -> dict[str, str]:
    """What is wrong, by path below the store."""
    return {each.damage.path.relative_to(store.root).as_posix(): each.damage.reason for each in faults(store)}


RECORDS = [
    "runs/a1/run.json",
    "runs/a1/status.json",
    "runs/a1/evals/e1.json",
    "runs/a1/attempts/1/metrics.parquet",
    "runs/a1/attempts/1/env.json",
    "runs/a2/attempts/1/status.json",
    "runs/a3/attempts/1/stop.json",
    "runs/a3/attempts/1/again.json",
    "runs/a3/attempts/1/checkpoint-4-9a129038d9a00aed.pt",
    "runs/a4/attempts/1/archived.json",
    "studies/depth.json",
    "ngram_baselines/d1.json",
    "benches/b1.json",
]


def test_nothing_is_wrong_with_a_store_that_is_whole(filled: Store) -> None:
    assert found(filled) == {}
    compact(filled)
    assert found(filled) == {}
    assert quarantine(filled, faults(filled)) is None


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("compacted", [False, True])
def test_a_flipped_bit_is_found_and_moved_aside(filled: Store, name: str, compacted: bool) -> None:
    if compacted:
        compact(filled)
    path = filled.root / name
    content, was = path.read_bytes(), path.stat()
    place = content.index(b"4") if b"4" in content else len(content) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))  # as a disk does it
    assert name in found(filled)
    folder = quarantine(filled, faults(filled))
    assert folder is not None
    assert (folder / name).exists()
    assert not path.exists()
    again = {place: reason for place, reason in found(filled).items() if reason != "is missing"}
    assert again == {}
    answer = ask(filled.root, "select run_id from runs")
    assert set(answer.table["run_id"].to_pylist()) >= {"a2", "a3"}


@pytest.mark.parametrize("name", ["runs/a1/run.json", "runs/a3/attempts/1/metrics.jsonl"])
def test_a_folder_in_the_place_of_a_record_is_found_and_moved_aside(filled: Store, name: str) -> None:
    path = filled.root / name
    path.unlink()
    path.mkdir()
    assert found(filled) == {name: "cannot be read: Is a directory"}
    quarantine(filled, faults(filled))
    assert not path.exists()


def test_a_file_where_there_is_a_folder_is_found_and_moved_aside(filled: Store) -> None:
    (filled.root / "verified").write_text("x")
    assert found(filled) == {"verified": "is a file where the store has a folder"}
    quarantine(filled, faults(filled))
    assert found(filled) == {}


def test_torn_lines_are_named_and_stay(filled: Store) -> None:
    with Attempt(filled.run("a3").attempts()[0]).metrics_path.open("ab") as lines:
        lines.write(b'{"step": \n')
    [(name, reason)] = found(filled).items()
    assert (name, reason.partition(" JSON")[0]) == ("runs/a3/attempts/1/metrics.jsonl", "line 4: is not")
    assert quarantine(filled, faults(filled)) is None


def test_what_a_killed_process_left_is_found_once_it_is_old(filled: Store) -> None:
    left = filled.run("a1").path / ".status.json.1234.tmp"
    left.write_bytes(b"{")
    assert found(filled) == {}
    os.utime(left, (time.time() - YEAR, time.time() - YEAR))
    assert list(found(filled)) == ["runs/a1/.status.json.1234.tmp"]
    quarantine(filled, faults(filled))
    assert found(filled) == {}


def test_a_link_that_leads_nowhere_is_found_like_any_file_that_was_left(filled: Store) -> None:
    link = filled.root / "runs" / "a1" / ".status.json.0123.tmp"
    link.symlink_to("nowhere")
    os.utime(link, (1e9, 1e9), follow_symlinks=False)
    assert found(filled) == {"runs/a1/.status.json.0123.tmp": "was left by a process that was killed"}
    quarantine(filled, faults(filled))
    assert found(filled) == {}


def test_a_study_of_runs_that_are_not_there_is_named(filled: Store) -> None:
    filled.save_study({"name": "other", "runs": [{"run_id": "a1"}, {"run_id": "gone"}]})
    assert found(filled) == {"studies/other.json": "1 of its 2 runs are missing from the store, such as gone"}
    assert quarantine(filled, faults(filled)) is None


def test_a_file_from_the_future_is_named(filled: Store) -> None:
    path = filled.run("a1").record_path
    os.utime(path, (time.time() + YEAR, time.time() + YEAR))
    assert list(found(filled)) == ["runs/a1/run.json"]
    assert quarantine(filled, faults(filled)) is None


@pytest.mark.parametrize("name", ["manifest.json", "metrics-*"])
def test_a_damaged_compaction_is_found_and_moved_aside(filled: Store, name: str) -> None:
    compact(filled)
    [path] = manifest_path(filled.root).parent.glob(name)
    path.write_bytes(path.read_bytes()[:-9])
    assert list(found(filled)) == [path.relative_to(filled.root).as_posix()]
    quarantine(filled, faults(filled))
    compact(filled)
    assert found(filled) == {}


def test_a_folder_in_the_place_of_a_compacted_file_is_named(filled: Store) -> None:
    compact(filled)
    path = next(manifest_path(filled.root).parent.glob("runs-*"))
    path.unlink()
    path.mkdir()
    assert path.relative_to(filled.root).as_posix() in found(filled)


def test_a_missing_file_is_named_and_nothing_is_moved(filled: Store, tmp_path: Path) -> None:
    filled.run("a1").metrics_path.unlink()
    assert found(filled) == {"runs/a1/attempts/1/metrics.parquet": "is missing"}
    assert quarantine(filled, faults(filled)) is None


def test_a_folder_in_a_checkpoints_place_is_named_and_stops_nothing(filled: Store) -> None:
    attempt = filled.run("a3").attempt(1)
    [kept] = attempt.path.glob("checkpoint-*.pt")
    kept.unlink()
    kept.mkdir()
    save_checkpoint(attempt, 5, lambda file: file.write(b"weights"))
    drop_checkpoints(attempt)
    assert [path.name for path in attempt.path.glob("checkpoint-*.pt")] == [kept.name]
    assert found(filled) == {kept.relative_to(filled.root).as_posix(): "cannot be read: Is a directory"}
