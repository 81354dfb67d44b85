from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from titans_lab.errors import UserError
from titans_lab.store.claims import AlreadyRunning
from titans_lab.store.files import DamagedError, write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import ask
from titans_lab.store.recorder import Recorder
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store, writing


def test_states_of_a_run(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    states = [folder.state()]
    attempt = folder.new_attempt()
    states.append(folder.state())
    with attempt.claim.kept():
        recorder = Recorder(attempt, {})
        states.append(folder.state())
        recorder.commit("diverged", {"diverged_step": 7})
    states.append(folder.state())
    assert states == ["pending", "lost", "running", "diverged"]
    assert folder.state() in FINISHED


def test_a_new_attempt_leaves_the_old_commit_in_its_place(ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1", state="failed", error="boom")
    first = folder.latest()
    assert first
    committed = first.status_path.read_bytes()
    attempt = folder.new_attempt()
    assert attempt.number == 2
    assert folder.status() is None
    with attempt.claim.kept():
        assert folder.state() == "running"
        Recorder(attempt, {}).commit("done", {})
    status = folder.status()
    assert status is not None
    assert (status.attempt, status.state, status.error) == (2, "done", None)
    assert first.status_path.read_bytes() == committed


def test_a_commit_that_cannot_be_read_counts_as_none(ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1")
    folder.status_path.write_bytes(b'{"state": "do')
    assert folder.status() is None
    assert folder.state() == "lost"


def test_the_tenth_attempt_follows_the_ninth(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    assert [folder.new_attempt().number for _ in range(11)] == list(range(1, 12))
    assert [Attempt(path).number for path in folder.attempts()] == list(range(1, 12))


def test_attempts_started_at_once_are_different_ones(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    barrier, numbers = threading.Barrier(8), list[int]()

    def start() -> None:
        barrier.wait()
        try:
            numbers.append(folder.new_attempt().number)
        except AlreadyRunning:
            numbers.append(0)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = sorted(number for number in numbers if number)
    assert len(numbers) == 8
    assert started == [Attempt(path).number for path in folder.attempts()]


def test_the_record_is_written_once(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1", seed=1)
    folder.create({"run_id": "a1", "seed": 2})
    assert folder.record()["seed"] == 1


def test_a_damaged_record_is_an_error_until_it_is_written_again(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1", seed=1)
    folder.record_path.write_bytes(b"{")
    with pytest.raises(UserError, match=r"run\.json: is not JSON"):
        folder.record()
    new_run("a1", seed=1)
    assert folder.record()["seed"] == 1


def test_a_missing_record_names_the_file(store: Store) -> None:
    with pytest.raises(UserError, match=r"a1/run\.json: not there"):
        store.run("a1").record()


def test_runs_are_listed_by_id(store: Store, new_run: Callable[..., RunFolder]) -> None:
    assert list(store.folders()) == []
    for run_id in ("b2", "a1"):
        new_run(run_id)
    (store.root / "runs" / ".hidden").mkdir()
    (store.root / "runs" / "a file").touch()
    assert [folder.run_id for folder in store.folders()] == ["a1", "b2"]


@pytest.mark.parametrize("name", ["../../etc/cron", "a/b", "", ".", "..", ".hidden", "a\nb", "/etc/passwd"])
def test_names_cannot_leave_the_store(store: Store, name: str) -> None:
    with pytest.raises(UserError, match="names in the store"):
        store.save_study({"name": name, "runs": []})
    with pytest.raises(UserError, match="names in the store"):
        store.save_ngram_baseline(name, {})
    with pytest.raises(UserError, match="names in the store"):
        store.run(name)


def test_a_study_takes_the_place_of_its_earlier_sweep(store: Store) -> None:
    for question in ("old?", "new?"):
        store.save_study({"name": "depth", "question": question, "runs": []})
    (path,) = store.study_paths()
    assert "new?" in path.read_text()


def test_ngram_baselines_are_there_once_saved_and_readable(store: Store) -> None:
    assert not store.has_ngram_baseline("d1-0.05")
    store.save_ngram_baseline("d1-0.05", {"data_hash": "d1", "bits_per_byte": {"0": 4.5}})
    assert store.has_ngram_baseline("d1-0.05")
    store.ngram_baseline_paths()[0].write_bytes(b"")
    assert not store.has_ngram_baseline("d1-0.05")


def test_the_last_request_to_stop_counts(new_run: Callable[..., RunFolder]) -> None:
    attempt = new_run("a").new_attempt()
    assert attempt.asked_to_stop() is None
    attempt.ask_to_stop("cancelled", "by hand")
    attempt.ask_to_stop("pruned", "worse than the median")
    assert attempt.asked_to_stop() == ("pruned", "worse than the median")


def test_files_that_are_no_runs_or_attempts_are_ignored(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1")
    (store.root / "runs" / "circle").symlink_to("circle")
    (store.root / "runs" / "notes.txt").write_text("x")
    (folder.path / "attempts" / "7").write_text("x")
    (folder.path / "attempts" / "8").symlink_to("8")
    (folder.path / "attempts" / "old").mkdir()
    assert [each.run_id for each in store.folders()] == ["a1"]
    assert [path.name for path in folder.attempts()] == ["1"]


def test_a_file_in_the_place_of_attempts_is_none(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    (folder.path / "attempts").write_text("x")
    assert folder.state() == "pending"


def test_a_file_in_the_place_of_a_folder_is_named(store: Store) -> None:
    place = store.root / "runs"
    place.write_text("x")
    with pytest.raises(UserError, match="runs: cannot be read: Not a directory; move it away"):
        list(store.folders())
    with pytest.raises(UserError, match="runs/a1: cannot be made: a file is in its place"), writing(store):
        store.run("a1").create({})


def test_a_folder_in_the_place_of_a_record_is_named(tmp_path: Path):
    path = tmp_path / "record.json"
    path.mkdir()
    match = r"record.json: is a folder where a file belongs; `titans-lab doctor --fix`"
    with pytest.raises(DamagedError, match=match), writing(Store(tmp_path)):
        write_json(path, {"n": 1})
    assert list(tmp_path.iterdir()) == [path]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_commit_keeps_no_run_from_its_result(store: Store, ended_run: Any, damage: str) -> None:
    folder = ended_run("a1")
    DAMAGES[damage](folder.status_path)
    assert folder.state() == "lost"
    assert [found.path for found in ask(store.root, "select state from runs").damage] == [folder.status_path]
    Recorder(folder.new_attempt(), {}).commit("done", {"loss": 3.0})
    assert folder.state() == "done"
    assert ask(store.root, "select state, loss from runs").table.to_pylist() == [{"state": "done", "loss": 3.0}]
    assert [path.name for path in folder.attempts()] == ["1", "2"]
