"""The view of attempts that ended without a result."""

from __future__ import annotations

from collections.abc import Callable

from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.query import query
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store

SQL = "select run_id, attempt, state, message, host, finished is null as open from failures order by run_id, attempt"


def test_every_attempt_without_a_result_is_there_the_earlier_ones_too(
    store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]
) -> None:
    ended_run("a1")
    folder = ended_run("a2", state="failed", error="Traceback\n  line 3\nValueError: no such text\n")
    folder.new_attempt()  # was killed before its first word
    Recorder(folder.new_attempt(), {"host": "desktop"}).commit("oom", {}, "out of memory")
    with folder.new_attempt().claim.kept():
        live_run("a3")
        for number, state in enumerate(["diverged", "pruned", "cancelled", "timeout"], start=4):
            ended_run(f"a{number}", state=state, error=f"{state} at step 3")
        rows = [tuple(row.values()) for row in query(store.root, SQL).to_pylist()]
    assert rows == [
        ("a2", 1, "failed", "ValueError: no such text", "laptop", False),
        ("a2", 2, "lost", None, None, True),
        ("a2", 3, "oom", "out of memory", "desktop", False),
        ("a3", 1, "lost", None, "laptop", True),
        ("a6", 1, "cancelled", "cancelled at step 3", "laptop", False),
        ("a7", 1, "timeout", "timeout at step 3", "laptop", False),
    ]


def test_a_damaged_commit_of_an_earlier_attempt_is_named(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    from titans_lab.store.query import ask

    folder = ended_run("a1", state="failed")
    first = folder.latest()
    assert first is not None
    Recorder(folder.new_attempt(), {}).commit("done", {})
    first.status_path.write_bytes(b"{")
    answer = ask(store.root, SQL)
    assert [damage.path for damage in answer.damage] == [first.status_path]
    assert [row["state"] for row in answer.table.to_pylist()] == ["lost"]
