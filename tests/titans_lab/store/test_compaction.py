"""What was compacted says what the folders say, and each run is read from one place."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from titans_lab.store import compacted, compaction
from titans_lab.store.compacted import OF_RUNS, Compacted, manifest_path
from titans_lab.store.compaction import compact, remove, worthwhile
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import ask, query
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.store.tables import LARGE, Reader


@pytest.fixture
def filled(store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]) -> Store:
    """Three runs that ended, one that failed twice, one that lives; one of them was evaluated later."""
    for number in range(3):
        ended_run(f"a{number}", steps=number + 1, memory=number, loss=float(number), seed=number)
    store.run("a0").save_evaluation("e1", {"rows": [{"task": "needle", "value": 0.5}]})
    folder = ended_run("b0", state="oom", error="out of memory")
    Recorder(folder.new_attempt(), {"host": "laptop"}).commit("failed", {}, "boom")
    live_run("c0", steps=2)
    return store


def contents(store: Store) -> dict[str, list[str]]:
    """All rows of all views of runs, in an order of their own; nothing may be damaged."""
    reader = Reader(store)
    rows = {view: sorted(map(repr, reader.table(view).to_pylist())) for view in OF_RUNS}
    assert reader.damage == []
    return rows


def covered(store: Store) -> set[str]:
    found = Compacted.load(store.root)
    return set(found.entries) if found else set()


def test_every_view_is_what_it_was(filled: Store) -> None:
    before = contents(filled)
    done = compact(filled)
    assert (done.runs, done.added) == (3, 3)
    assert covered(filled) == {"a0", "a1", "a2"}
    assert contents(filled) == before
    for run_id in covered(filled):  # it is read from what was compacted: the files of the run are not needed
        filled.run(run_id).metrics_path.unlink()
    assert contents(filled) == before


SQL = """\
select run_id, m.step, m.loss, i.theta from metrics m join runs using (run_id) left join memory i using (run_id, step)
where m.loss > 0.5 or m.loss is null order by all"""


def test_a_query_sees_the_rows_of_a_large_view_wherever_they_are(
    filled: Store, ended_run: Callable[..., RunFolder]
) -> None:
    def answer() -> list[list[str]]:
        statements = [SQL, *(f"from {view} order by all" for view in LARGE)]
        return [list(map(repr, query(filled.root, sql).to_pylist())) for sql in statements]

    before = answer()
    assert all(before)
    compact(filled)
    assert all(not isinstance(Reader(filled).scannable(view), pa.Table) for view in LARGE)
    assert answer() == before
    ended_run("a9", steps=2, memory=1, loss=9.0)  # beside what was compacted
    beside = answer()
    assert len(beside[0]) == len(before[0]) + 2
    shutil.rmtree(filled.run("a1").path)  # which is compacted, and does not count any more
    without = answer()
    remove(filled)
    assert answer() == without
    assert [row for row in beside[0] if "'a1'" not in row] == without[0]


def test_a_changed_run_is_read_from_its_folder_until_the_next_compaction(
    filled: Store, ended_run: Callable[..., RunFolder]
) -> None:
    compact(filled)
    ended_run("d0")
    Recorder(filled.run("b0").new_attempt(), {"host": "laptop"}).commit("done", {"loss": 7.0})
    filled.run("a1").save_evaluation("e2", {"rows": [{"task": "needle", "value": 1.0}]})
    filled.run("a2").archive()
    shutil.rmtree(filled.run("a0").path)
    assert covered(filled) == set()
    now = contents(filled)
    losses = query(filled.root, "select loss from runs order by run_id")["loss"].to_pylist()
    assert losses == [1.0, None, 7.0, None, 2.0]  # of a1, a2 that was asked for again, b0, c0 that lives, d0
    assert compact(filled).added == 3  # a1, b0 and d0
    assert contents(filled) == now
    remove(filled)
    assert not manifest_path(filled.root).parent.exists()
    assert contents(filled) == now


def test_a_second_compaction_takes_the_first_one_over(filled: Store, ended_run: Callable[..., RunFolder]) -> None:
    compact(filled)
    filled.run("a1").metrics_path.unlink()  # which is not read again
    ended_run("d0")
    now = contents(filled)
    assert (compact(filled).runs, compact(filled).added) == (4, 0)
    assert contents(filled) == now


def test_a_damaged_run_is_not_covered_and_goes_on_being_named(filled: Store) -> None:
    filled.run("a1").metrics_path.write_bytes(b"cut")
    compact(filled)
    assert covered(filled) == {"a0", "a2"}
    assert [damage.path for damage in ask(filled.root, "from metrics").damage] == [filled.run("a1").metrics_path]


@pytest.mark.parametrize("name", ["manifest.json", "runs-*", "metrics-*", "evals-*"])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_compaction_is_named_and_the_folders_read(filled: Store, name: str, content: bytes | None) -> None:
    before = contents(filled)
    compact(filled)
    [path] = manifest_path(filled.root).parent.glob(name)
    path.unlink() if content is None else path.write_bytes(content)
    reader = Reader(filled)
    assert {view: sorted(map(repr, reader.table(view).to_pylist())) for view in OF_RUNS} == before
    undone = name == "manifest.json" and content is None
    assert {damage.path for damage in reader.damage} == (set() if undone else {path})
    compact(filled)
    assert contents(filled) == before


def test_one_of_other_views_does_not_count(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(filled)
    compact(filled)
    monkeypatch.setattr(compacted, "FORM", "another")
    assert covered(filled) == set()
    assert contents(filled) == before


def test_it_is_worthwhile_for_many_runs_alone(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not worthwhile(filled)
    monkeypatch.setattr(compaction, "WORTHWHILE", 3)
    assert worthwhile(filled)
    compact(filled)
    assert not worthwhile(filled)


WORK = """
import sys
from pathlib import Path
from titans_lab.store.compaction import compact
from titans_lab.store.store import Store
from titans_lab.store.recorder import Recorder
import pyarrow.parquet

store = Store(Path(sys.argv[1]))
compact(store)
print("ready", flush=True)
while True:
    folder = store.run("a1")
    if folder.status_path.exists():  # a kill may have come between this and the commit
        folder.archive()
    Recorder(folder.new_attempt(), {}).commit("done", {"loss": 1.0})
    compact(store)
"""


def test_a_kill_at_any_moment_leaves_every_run_there_once(filled: Store) -> None:
    delays = random.Random(0)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WORK, str(filled.root)], stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
            time.sleep(delays.uniform(0.0, 0.15))
            worker.kill()
        assert worker.returncode == -signal.SIGKILL
        answer = ask(filled.root, "select run_id from runs order by run_id")
        assert answer.damage == ()
        assert answer.table["run_id"].to_pylist() == ["a0", "a1", "a2", "b0", "c0"]


def test_a_store_that_cannot_be_written_is_read(filled: Store) -> None:
    compact(filled)
    before = contents(filled)
    for path in filled.root.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert contents(filled) == before
    finally:
        for path in filled.root.rglob("*"):
            path.chmod(0o700)


def test_a_link_out_of_the_folder_is_named_and_the_runs_are_read_instead(filled: Store) -> None:
    before = contents(filled)
    compact(filled)
    [path] = manifest_path(filled.root).parent.glob("runs-*.parquet")
    path.symlink_to(path.rename(filled.root.parent / "moved"))
    answer = ask(filled.root, "select run_id, state from runs order by run_id")
    assert {row["run_id"] for row in answer.table.to_pylist()} == {"a0", "a1", "a2", "b0", "c0"}
    assert [(damage.path, "leads out of" in damage.reason) for damage in answer.damage] == [(path, True)]
    path.unlink()
    remove(filled)
    assert contents(filled) == before
