from __future__ import annotations

import json
import math
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from titans_lab.errors import UserError
from titans_lab.store.columns import SHOWN
from titans_lab.store.compaction import compact
from titans_lab.store.files import write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import digest_of
from titans_lab.store.query import ask, query
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader


def rows(store: Store, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
    """The rows of a query for which every record could be read."""
    answer = ask(store.root, sql, parameters)
    assert answer.damage == ()
    return answer.table.to_pylist()


def commit(folder: RunFolder, content: bytes) -> None:
    """Commit `content` in the place of the metrics of a run that has ended."""
    status = folder.status()
    assert status is not None
    name = folder.metrics_path.relative_to(folder.path).as_posix()
    write_json(folder.status_path, {**vars(status), "files": {name: digest_of(content)}})


def values(store: Store, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows(store, sql, parameters)]


def test_loss_by_a_field_of_the_configuration(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    for index, (depth, loss) in enumerate([(1, 2.0), (1, 3.0), (4, 1.5)]):
        ended_run(f"a{index}", seed=index, depth=depth, loss=loss)
    sql = "select model.memory.depth, avg(loss) from runs where train.lr < 1 group by all order by 1"
    assert values(store, sql) == [(1, 2.5), (4, 1.5)]


def test_a_run_in_full(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    ended_run("a1", state="failed", seed=3, error="Traceback: boom")
    (run,) = rows(store, "from runs")
    expected = {
        "run_id": "a1",
        "state": "failed",
        "attempt": 1,
        "seed": 3,
        "data_source": "a text",
        "parameters": 1000,
        "flops_per_token": 6000,
        "state_bytes": 64,
        "loss": 2.0,
        "tokens": 4096,
        "wall_seconds": 1.5,
        "diverged_step": None,
        "host": "laptop",
        "device": "cpu",
        "torch": "2.13.0",
        "commit": "c0",
        "error": "Traceback: boom",
    }
    assert expected.items() <= run.items()
    assert run["model"]["variant"] == "mac"
    assert run["log"]["every"] == 10
    assert json.loads(run["config"])["model"] == run["model"]
    assert json.loads(run["versions"]) == {"model": 1}
    assert timedelta(0) <= run["finished"] - run["started"] < timedelta(minutes=1)
    assert isinstance(run["started"], datetime)


def test_runs_of_every_state(
    store: Store,
    new_run: Callable[..., RunFolder],
    live_run: Callable[..., Attempt],
    ended_run: Callable[..., RunFolder],
) -> None:
    new_run("a1")
    live_run("a2")
    ended_run("a3")
    with live_run("a4").claim.kept():
        states = values(store, "select run_id, state, attempt, host, loss from runs order by run_id")
    assert states == [
        ("a1", "pending", None, None, None),
        ("a2", "lost", 1, "laptop", None),
        ("a3", "done", 1, "laptop", 2.0),
        ("a4", "running", 1, "laptop", None),
    ]


def test_a_run_that_ends_while_it_is_read_is_read_whole(store: Store, live_run: Callable[..., Attempt]) -> None:
    attempt = live_run("a1")
    claim, ended = attempt.claim.path, threading.Event()

    def end_when_the_claim_is_read(event: str, given: tuple[object, ...]) -> None:
        if event == "open" and str(given[0]) == str(claim) and not ended.is_set():
            ended.set()
            Recorder(attempt, {}).commit("done", {"loss": 2.0, "steps": 3})

    sys.addaudithook(end_when_the_claim_is_read)  # the moment between two reads that a test cannot otherwise meet
    assert values(store, "select state, loss, steps from runs") == [("done", 2.0, 3)]
    assert ended.is_set()


def test_metrics_of_ended_and_of_live_runs(
    store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]
) -> None:
    ended_run("a1", steps=2)
    with live_run("a2", steps=3).metrics_path.open("a") as lines:
        lines.write('{"step": 4, "loss": 2')
    assert values(store, "select run_id, step, loss from metrics order by all") == [
        ("a1", 1, 8.0),
        ("a1", 2, 4.0),
        ("a2", 1, 8.0),
        ("a2", 2, 4.0),
        ("a2", 3, 8.0 / 3),
    ]


def test_the_inside_of_ended_and_of_live_runs(
    store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]
) -> None:
    ended_run("a1", memory=2)
    with live_run("a2", memory=1).lines_path("memory").open("a") as lines:
        lines.write('{"step": 2, "block": 1}\n{"step": 2, "blo')
    ended_run("a3")  # which nobody looked into
    assert not store.run("a3").parquet_path("memory").exists()
    assert values(store, "select run_id, step, block, layer, head, position, theta from memory order by all") == [
        ("a1", 1, 0, 1, 2, None, 0.5),
        ("a1", 2, 0, 1, 2, None, 0.25),
        ("a2", 1, 0, 1, 2, None, 0.5),
        ("a2", 2, 1, None, None, None, None),
    ]


def test_logs_of_earlier_attempts_are_not_shown_for_the_last(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1", state="failed", memory=2)
    Recorder(folder.new_attempt(), {}).commit("done", {})
    assert values(store, "from memory") == []


def test_a_run_that_is_tried_again_shows_the_new_attempt(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1", state="failed", steps=3)
    Recorder(folder.new_attempt(), {}).log(step=100)
    assert values(store, "select attempt, loss, error from runs") == [(2, None, None)]
    assert values(store, "select step from metrics") == [(100,)]


def test_losses_that_are_not_finite(store: Store, new_run: Callable[..., RunFolder]) -> None:
    recorder = Recorder(new_run("a1").new_attempt(), {})
    recorder.log(step=1, loss=math.inf)
    recorder.log(step=2, loss=math.nan)
    sql = "select step from metrics where not isfinite(loss) order by step"
    assert values(store, sql) == [(1,), (2,)]
    recorder.commit("diverged", {"loss": math.nan, "diverged_step": 2})
    assert values(store, sql) == [(1,), (2,)]
    assert values(store, "select isnan(loss), diverged_step from runs") == [(True, 2)]


def test_configurations_of_other_versions(store: Store, new_run: Callable[..., RunFolder]) -> None:
    new_run("a1")
    config = {"model": {"dim": 64, "gone": [1]}, "train": {"lr": 1}}
    store.run("a2").create({"run_id": "a2", "seed": 0, "data_hash": "d", "versions": {}, "config": config})
    sql = """
        select model.dim, model.memory.depth, train.lr, log.every, seed, config->>'$.model.gone'
        from runs order by run_id
    """
    assert values(store, sql) == [(128, 2, 3e-3, 10, 0, None), (64, None, 1.0, None, 0, "[1]")]


def test_text_that_arrow_cannot_hold_is_replaced(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    ended_run("a1", state="failed", error="in \ud800.py")
    assert values(store, "select error from runs") == [("in ?.py",)]


def test_studies_and_their_factors(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    runs = []
    for run_id, depth, loss in [("a1", 1, 3.0), ("a2", 4, 2.0)]:
        ended_run(run_id, depth=depth, loss=loss)
        runs.append({"run_id": run_id, "factors": {"model.memory.depth": depth}})
    record = {"name": "depth", "path": "studies/depth.yaml", "question": "Why?", "expect": "Less.", "runs": runs}
    store.save_study({**record, "overrides": ["seeds=1"]})
    sql = """
        select study, question, expect, overrides, (factors->>'model.memory.depth')::int as depth, loss
        from studies join runs using (run_id) order by depth
    """
    assert values(store, sql) == [
        ("depth", "Why?", "Less.", '["seeds=1"]', depth, loss) for depth, loss in [(1, 3), (4, 2)]
    ]


def test_ngram_baselines_one_row_a_context(store: Store) -> None:
    split = {"data_hash": "d1", "data_source": "a text", "valid_fraction": 0.05, "valid_bytes": None}
    store.save_ngram_baseline("d1-0.05", {**split, "bits_per_byte": {0: 4.5, 1: 3.5, 3: 2.5}})
    columns = "data_hash, valid_fraction, valid_bytes, context, bits_per_byte, data_source"
    sql = f"select {columns} from ngram_baselines order by context"
    assert values(store, sql) == [
        ("d1", 0.05, None, context, bits, "a text") for context, bits in [(0, 4.5), (1, 3.5), (3, 2.5)]
    ]


def test_benches_one_row_a_pair(store: Store) -> None:
    rows = [{"length": 512, "ratio": 0.5, "seconds": {"model": [1.0]}, "config": {"dim": 8}}, {"length": 1024}]
    record = {"bench": "b1", "started": "2026-01-01T00:00:00+00:00", "host": "laptop", "versions": {"model": 2}}
    store.save_bench("b1", {**record, "rows": rows})
    columns = "bench, host, length, ratio, seconds->>'$.model[0]', config->>'dim', versions"
    sql = f"select {columns} from benches order by length"
    assert values(store, sql) == [
        ("b1", "laptop", 512, 0.5, "1.0", "8", '{"model": 2}'),
        ("b1", "laptop", 1024, None, None, None, '{"model": 2}'),
    ]


def test_metrics_of_an_older_version(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1")
    pq.write_table(pa.table({"step": pa.array([7], pa.int32()), "gone": [1]}), folder.metrics_path)
    commit(folder, folder.metrics_path.read_bytes())
    assert values(store, "select step, loss from metrics") == [(7, None)]


def test_metrics_that_were_never_parquet_are_damage(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    folder = ended_run("a1")
    folder.metrics_path.write_bytes(b"committed as it is")
    commit(folder, folder.metrics_path.read_bytes())
    answer = ask(store.root, "from metrics")
    assert answer.table.num_rows == 0
    (damage,) = answer.damage
    assert damage.path == folder.metrics_path
    assert damage.reason.startswith("cannot be read as metrics: ")


def test_a_store_with_a_run_whose_record_is_not_there_yet(store: Store) -> None:
    store.run("a1").path.mkdir(parents=True)
    assert values(store, "from runs") == []


def test_times_are_utc(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    ended_run("a1")
    ((finished,),) = values(store, "select finished from runs")
    assert abs(datetime.now(UTC).replace(tzinfo=None) - finished) < timedelta(minutes=1)


@pytest.mark.parametrize("view", SHOWN)
def test_an_empty_store_has_every_view_with_its_types(store: Store, view: str) -> None:
    assert values(store, f"from {view}") == []
    described = values(store, f"select column_name, column_type from (describe {view})")
    assert [(name, kind.replace('"', "")) for name, kind in described] == [(c.name, c.type) for c in SHOWN[view]]


@pytest.mark.parametrize(
    "sql",
    [
        "pivot runs on state using count(*)",
        "select count(*) from query_table('ru' || 'ns')",
        "select count(*) from RUNS",
        'select count(*) from "runs"',
        "select count(distinct run_id) from RUNS join metrics using (run_id)",
        "with seen as (select * from runs) select count(*) from seen",
        "select (select count(*) from runs)",
    ],
)
def test_whatever_way_a_view_is_named_its_rows_are_there(
    store: Store, ended_run: Callable[..., RunFolder], sql: str
) -> None:
    ended_run("a1")
    assert 1 in values(store, sql)[0]


def test_show_tables_lists_the_views(store: Store) -> None:
    assert {name for (name,) in values(store, "show tables")} == set(SHOWN)


def test_parameters_by_position_and_by_name(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    ended_run("a1")
    assert values(store, "select run_id from runs where run_id = ? and seed = ?", ["a1", 0]) == [("a1",)]
    assert values(store, "select run_id from runs where run_id = $run", {"run": "' or true --"}) == []


def test_numbers_are_plain(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    ended_run("a1")
    table = query(store.root, "select sum(tokens) s, 1.5 d, 1e30::hugeint h, null::hugeint n from runs")
    assert table.schema.types == [pa.int64(), pa.float64(), pa.decimal128(38, 0), pa.int64()]
    assert table.to_pylist() == [{"s": 4096, "d": 1.5, "h": 1e30, "n": None}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", r'query: syntax error at or near "selec"$'),
        (
            "select * from run",
            r"query: Table with name run does not exist; the views are runs, .*, failures, .*, finalists, differences$",
        ),
        (
            "select los from runs",
            r"query: no column los; did you mean loss",
        ),
        ("select model.memory.dept from runs", "dept"),
        ("select error('on purpose') from range(1)", "query: on purpose$"),
        ("select ?", "query: Values were not provided"),
        ("", "query: 0 statements; give one"),
        ("select 1; select 2", "query: 2 statements; give one"),
    ],
)
def test_errors_in_sql_are_the_users(store: Store, sql: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        query(store.root, sql)


def test_no_store_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; .*--store.*TITANS_LAB_STORE"):
        query(tmp_path / "nowhere", "select 1")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select avg(loss) from runs where lr > 1", "no column lr; did you mean train.lr?"),
        ("select variant from runs", "no column variant; did you mean model.variant?"),
        ("select r.lr from runs r", "no column lr; did you mean train.lr?"),
        ("select model.memory.dept from runs", "no column dept; did you mean model.memory.depth?"),
        ("select xyz from failures", "no column xyz; there are run_id, arm, attempt"),
    ],
)
def test_an_unknown_column_suggests_the_key_of_the_language(store: Store, sql: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        query(store.root, sql)


def test_a_run_that_two_studies_share_has_its_arm_in_each(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    shared, other = (ended_run(name).run_id for name in ("a0", "a1"))
    runs = [{"run_id": shared, "factors": {"train.lr": 0.1}}, {"run_id": other, "factors": {"train.lr": 0.2}}]
    store.save_study({"name": "rates", "runs": runs})
    store.save_study({"name": "depths", "runs": [{"run_id": shared, "factors": {"model.memory.depth": 1}}]})
    assert values(store, "select study, run_id, arm from studies order by all") == [
        ("depths", shared, "depth=1"),
        ("rates", shared, "lr=0.1"),
        ("rates", other, "lr=0.2"),
    ]
    joined = "from studies join (select * exclude arm from runs) using (run_id) where study = 'rates'"
    assert values(store, f"select arm, state {joined} order by all") == [("lr=0.1", "done"), ("lr=0.2", "done")]
    assert values(store, f"select arm from runs where run_id = '{shared}'") == [("depth=1",)]  # the first by name


def test_a_study_that_is_moved_while_it_is_read_is_read_whole(
    store: Store, ended_run: Callable[..., RunFolder]
) -> None:
    for name in ("one", "two"):
        store.save_study({"name": name, "runs": [{"run_id": ended_run(name).run_id, "factors": {"train.lr": 0.1}}]})
    reader = Reader(store)
    assert reader.arms == {"one": "lr=0.1", "two": "lr=0.1"}
    store.set_aside([store.root / "studies" / "one.json"], "trash")
    assert reader.shown("studies")["study"].to_pylist() == ["one", "two"]


def test_a_study_that_names_a_run_twice_has_it_in_two_rows(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    run = {"run_id": ended_run("a0").run_id, "factors": {"train.lr": 0.1}}
    store.save_study({"name": "s", "runs": [run, run]})
    assert values(store, "select run_id, arm from studies") == [("a0", "lr=0.1")] * 2


def test_every_view_of_runs_has_their_arm(store: Store, ended_run: Callable[..., RunFolder]) -> None:
    about = [{"factors": {"model.memory.depth": 1}, "baseline": True}, {"factors": {"model.memory.depth": 2}}]
    for index in range(2):
        ended_run(f"a{index}", seed=index)
    runs = [{"run_id": f"a{index}", **each} for index, each in enumerate(about)]
    store.save_study({"name": "s", "question": "", "expect": "", "overrides": [], "path": "s.yaml", "runs": runs})
    named = [("a0", "depth=1"), ("a1", "depth=2")]
    for view in ("runs", "studies", "metrics"):
        assert values(store, f"select distinct run_id, arm from {view} order by all") == named
    compact(store)
    for view in ("runs", "metrics"):
        assert values(store, f"select distinct run_id, arm from {view} order by all") == named
        assert [name for name, *_ in values(store, f"describe {view}")] == [column.name for column in SHOWN[view]]
