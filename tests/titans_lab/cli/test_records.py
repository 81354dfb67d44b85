"""query."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from workbench import Workbench

from titans_lab.store.columns import VIEWS
from titans_lab.store.recorder import Recorder


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Two runs that ended."""
    for seed, folder in enumerate(bench.folders("seeds=2")):
        bench.sweep("seeds=2")
        recorder = Recorder(folder.new_attempt(), {"host": "laptop"})
        recorder.log(step=1, loss=3.25 + seed)
        recorder.add("inside", [{"step": 1, "block": 0, "layer": 1, "head": 2, "staleness": 0.5 + seed}])
        recorder.commit("done", {"loss": 1.123456789 + seed})
    return bench


def test_its_help_names_every_view(cli: Any):
    words = cli("query", "--help").out.replace("│", " ").replace(".", ",").split()
    assert {f"{view}," for view in VIEWS} <= set(words)


def test_a_query_is_a_table(cli: Any, filled: Workbench):
    ended = cli("query", "select seed, state, loss from runs order by seed", "--store", filled.store.root)
    lines = [line.split() for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (0, "")
    assert lines[0] == ["seed", "state", "loss"]
    assert lines[2:] == [["0", "done", "1.12346"], ["1", "done", "2.12346"]]


def test_a_query_is_csv_and_json_with_every_digit(cli: Any, filled: Workbench):
    sql = "select seed, loss, model from runs order by seed"
    rows = list(csv.DictReader(cli("query", sql, "--csv", "--store", filled.store.root).out.splitlines()))
    assert [(row["seed"], row["loss"]) for row in rows] == [("0", "1.123456789"), ("1", "2.123456789")]
    assert json.loads(rows[0]["model"])["memory"]["depth"] == 1
    rows = json.loads(cli("query", sql, "--json", "--store", filled.store.root).out)
    assert [(row["seed"], row["loss"], row["model"]["dim"]) for row in rows] == [
        (0, 1.123456789, 16),
        (1, 2.123456789, 16),
    ]


def test_the_inside_of_memories_is_a_view(cli: Any, filled: Workbench):
    sql = "select seed, layer, position, staleness from inside join runs using (run_id) order by seed"
    rows = json.loads(cli("query", sql, "--json", "--store", filled.store.root).out)
    assert rows == [{"seed": seed, "layer": 1, "position": None, "staleness": 0.5 + seed} for seed in (0, 1)]


def test_columns_of_one_name_in_two_views_are_told_apart(cli: Any, filled: Workbench):
    sql = "select runs.loss, metrics.loss from runs join metrics using (run_id) order by seed"
    rows = json.loads(cli("query", sql, "--json", "--store", filled.store.root).out)
    assert rows == [{"loss": 1.123456789, "loss_1": 3.25}, {"loss": 2.123456789, "loss_1": 4.25}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select nonsense from runs", "nonsense"),
        ("selec 1", "syntax error"),
        ("select * from nowhere", "the views are runs, metrics, inside, evals, studies, floors, benches"),
        ("delete from runs", "DELETE is refused"),
        ("select 1; select 2", "2 statements; give one"),
        ("copy (select 1) to 'x.csv'", "COPY is refused"),
        ("", "0 statements"),
    ],
)
def test_a_wrong_query_ends_with_2_and_one_message(cli: Any, filled: Workbench, sql: str, message: str):
    code, out, err = cli("query", sql, "--store", filled.store.root)
    assert (code, out) == (2, "")
    assert err.startswith("titans-lab: query: ")
    assert message in err
    assert "Traceback" not in err


def test_a_store_that_is_not_there_is_an_error(cli: Any, bench: Workbench):
    code, _, err = cli("query", "select 1", "--store", bench.store.root)
    assert code == 2
    assert f"{bench.store.root}: no such folder" in err


def test_damage_is_told_beside_the_answer(cli: Any, filled: Workbench):
    [broken, _] = filled.folders("seeds=2")
    broken.metrics_path.write_bytes(b"cut")
    ended = cli("query", "select count(*) as lines from metrics", "--csv", "--store", filled.store.root)
    assert (ended.code, ended.out) == (0, "lines\n1\n")
    assert ended.err.startswith(f"warning: {broken.metrics_path}: ")
