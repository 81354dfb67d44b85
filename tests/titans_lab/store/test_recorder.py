from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from titans_lab.store.columns import MEMORY, METRICS
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import TAIL_BYTES, Recorder, commit, commit_dead


def test_lines_are_there_as_soon_as_they_are_logged(new_run: Callable[..., RunFolder]) -> None:
    attempt = new_run("a1").new_attempt()
    recorder = Recorder(attempt, {"host": "laptop"})
    recorder.log(step=1, loss=2.5)
    recorder.log(step=2, loss=2.25, valid_loss=None)
    lines = [json.loads(line) for line in attempt.metrics_path.read_text().splitlines()]
    assert all(line.pop("crc32") for line in lines)
    assert lines == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25, "valid_loss": None}]
    assert json.loads(attempt.env_path.read_text())["host"] == "laptop"


def test_a_commit_holds_the_metrics_and_their_digest(live_run: Callable[..., Attempt]) -> None:
    attempt = live_run("a1", steps=3)
    Recorder(attempt, {"host": "laptop"}).commit("done", {"loss": 2.0})
    status = attempt.folder.status()
    assert status is not None
    content = attempt.folder.metrics_path.read_bytes()
    assert status.files == {
        "attempts/1/metrics.parquet": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    }
    assert (status.attempt, status.state, status.summary, status.error) == (1, "done", {"loss": 2.0}, None)
    assert status.env["host"] == "laptop"
    assert status.env["started"] <= status.finished
    table = pq.read_table(attempt.folder.metrics_path)
    assert table.column_names == [column.name for column in METRICS]
    assert table["step"].to_pylist() == [1, 2, 3]
    assert table["valid_loss"].to_pylist() == [None] * 3


def test_a_commit_holds_every_log_that_has_rows(live_run: Callable[..., Attempt]) -> None:
    attempt = live_run("a1", steps=3, memory=2)
    commit_dead(attempt, "failed", "killed by signal 9")
    status = attempt.folder.status()
    assert status is not None
    content = {log: attempt.folder.parquet_path(log).read_bytes() for log in ("metrics", "memory")}
    assert status.files == {
        f"attempts/1/{log}.parquet": {"bytes": len(some), "sha256": hashlib.sha256(some).hexdigest()}
        for log, some in content.items()
    }
    table = pq.read_table(attempt.folder.parquet_path("memory"))
    assert table.column_names == [column.name for column in MEMORY]
    assert table["step"].to_pylist() == [1, 2]
    assert table["theta"].to_pylist() == [0.5, 0.25]
    assert table["position"].to_pylist() == [None, None]


def test_losses_that_are_not_finite_reach_parquet(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    recorder = Recorder(folder.new_attempt(), {})
    for step, loss in enumerate((1, math.inf, math.nan)):
        recorder.log(step=step, loss=loss)
    recorder.commit("diverged", {"loss": math.nan})
    one, infinite, nan = pq.read_table(folder.metrics_path)["loss"].to_pylist()
    assert (one, infinite) == (1.0, math.inf)
    assert math.isnan(nan)


def test_a_run_that_never_logged_commits_an_empty_table(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    Recorder(folder.new_attempt(), {}).commit("failed", {}, error="Traceback: no data")
    assert pq.read_table(folder.metrics_path).num_rows == 0
    status = folder.status()
    assert status is not None
    assert status.error == "Traceback: no data"


def test_the_first_commit_stays(ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1", state="done")
    before = folder.status_path.read_bytes(), folder.metrics_path.read_bytes()
    latest = folder.latest()
    assert latest is not None
    Recorder(latest, {}).log(step=99)
    commit_dead(latest, "failed", "exit code 1")
    assert (folder.status_path.read_bytes(), folder.metrics_path.read_bytes()) == before


def test_a_dead_worker_is_committed_with_its_lines_and_the_end_of_its_log(live_run: Callable[..., Attempt]) -> None:
    attempt = live_run("a1", steps=2)
    with attempt.metrics_path.open("a") as lines:
        lines.write('{"step": 3, "lo')
    attempt.log_path.write_text("start of the log" + "." * TAIL_BYTES + "MemoryError: the end")
    commit_dead(attempt, "oom", "killed by signal 9")
    status = attempt.folder.status()
    assert status is not None
    assert status.state == "oom"
    assert status.error is not None
    assert status.error.startswith("killed by signal 9\n\n...")
    assert status.error.endswith("MemoryError: the end")
    assert status.env["host"] == "laptop"
    assert pq.read_table(attempt.folder.metrics_path)["step"].to_pylist() == [1, 2]


def test_a_worker_that_died_before_it_wrote_anything_is_committed(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run("a1")
    commit_dead(folder.new_attempt(), "failed", "exit code 1")
    status = folder.status()
    assert status is not None
    assert (status.state, status.error, status.env) == ("failed", "exit code 1", {})


def test_the_result_of_an_attempt_that_was_taken_for_dead_does_not_count(live_run: Callable[..., Attempt]) -> None:
    first = live_run("a1")
    second = first.folder.new_attempt()
    assert not Recorder(first, {}).commit("done", {"loss": 1.0})
    assert first.folder.status() is None
    assert Recorder(second, {}).commit("done", {"loss": 2.0})
    status = first.folder.status()
    assert status is not None
    assert (status.attempt, status.summary) == (2, {"loss": 2.0})
    assert not second.superseded()


def test_one_of_several_simultaneous_commits_counts(live_run: Callable[..., Attempt]) -> None:
    attempt = live_run("a1")
    barrier, counted = threading.Barrier(8), list[bool]()

    def end(number: int) -> None:
        barrier.wait()
        counted.append(commit(attempt, "done", {"loss": number}))

    threads = [threading.Thread(target=end, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counted) == [False] * 7 + [True]
    assert list(attempt.folder.path.glob(".*")) == []


def test_a_column_that_is_none_is_refused(live_run: Callable[..., Attempt]) -> None:
    with pytest.raises(AssertionError, match="los"):
        Recorder(live_run("a1"), {}).log(step=1, los=2.0)
    with pytest.raises(AssertionError, match="valid_loss"):
        Recorder(live_run("a2"), {}).add("memory", [{"step": 1, "valid_loss": 2.0}])
