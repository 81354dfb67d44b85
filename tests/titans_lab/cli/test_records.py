"""query."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from workbench import Workbench

from titans_lab.store.columns import SHOWN
from titans_lab.store.recorder import Recorder


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Two runs that ended."""
    for seed, folder in enumerate(bench.folders("seeds=2")):
        bench.sweep("seeds=2")
        recorder = Recorder(folder.new_attempt(), {"host": "laptop"})
        recorder.log(step=1, loss=3.25 + seed)
        recorder.add("memory", [{"step": 1, "block": 0, "layer": 1, "head": 2, "staleness": 0.5 + seed}])
        recorder.commit("done", {"loss": 1.123456789 + seed})
    return bench


def test_its_help_names_every_view(cli: Any):
    words = re.sub("[│.;,]", " ", cli("query", "--help").out).split()
    assert set(SHOWN) <= set(words)


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
    sql = "select seed, layer, position, staleness from memory join runs using (run_id) order by seed"
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
        (
            "select * from nowhere",
            "the views are runs, metrics, memory, evals, failures, studies, ngram_baselines, benches",
        ),
        ("delete from runs", "DELETE is refused"),
        ("select 1; select 2", "2 statements; give one"),
        ("copy (select 1) to 'x.csv'", "COPY is refused"),
        ("", "0 statements"),
        ("select $x", "Values were not provided"),
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


SQL = "select seed, loss, model.variant from runs order by seed"


def test_the_format_is_asked_for_or_follows_from_the_name_of_the_file(cli: Any, filled: Workbench, tmp_path: Path):
    store = ("--store", filled.store.root)
    for form, name in (("csv", "x.csv"), ("json", "x.JSON"), ("md", "x.md"), ("table", "x.txt")):
        printed = cli("query", SQL, "--format", form, *store)
        assert (printed.code, printed.err) == (0, "")
        assert cli("query", SQL, "-o", tmp_path / name, *store) == (0, "", "")
        assert (tmp_path / name).read_text() == printed.out
    for alias, name in (("csv", "x.csv"), ("json", "x.JSON")):
        assert cli("query", SQL, f"--{alias}", *store) == cli("query", SQL, "--format", alias, *store)
        assert cli("query", SQL, f"--{alias}", "--format", alias, *store).out == (tmp_path / name).read_text()
    assert cli("query", SQL, "-o", tmp_path / "x.parquet", *store) == (0, "", "")
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == json.loads((tmp_path / "x.JSON").read_text())


def test_a_file_whose_name_says_another_format_is_refused(cli: Any, filled: Workbench, tmp_path: Path):
    store = ("--store", filled.store.root)
    for verb in (("query", SQL), ("report", filled.study), ("compare", "a", "b")):
        code, out, err = cli(*verb, "-o", tmp_path / "x.xlsx", *store)
        assert (code, out) == (2, "")
        assert "no format is named .xlsx; end the name in " in err
    assert cli("query", SQL, "--format", "csv", "-o", tmp_path / "x.dat", *store) == (0, "", "")
    assert [path.name for path in tmp_path.glob("x.*")] == ["x.dat"]


def test_parquet_goes_through_a_pipe(bench: Workbench, filled: Workbench):
    command = [sys.executable, "-m", "titans_lab", "query", SQL, "--format", "parquet", "--store"]
    done = subprocess.run([*command, str(filled.store.root)], capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(done.stdout))["seed"].to_pylist() == [0, 1]


def test_markdown_shows_markup_as_it_is(cli: Any, filled: Workbench):
    sql = "select '<b>|*x*' as \"a|b\", null as none, 0.5 as half"
    out = cli("query", sql, "--format", "md", "--store", filled.store.root).out
    assert out.splitlines() == [r"| a\|b | none | half |", "| --- | --- | --- |", r"| \<b\>\|\*x\* | - | 0.5 |"]


def test_sql_comes_from_a_file_with_parameters(cli: Any, filled: Workbench, tmp_path: Path):
    (tmp_path / "x.sql").write_text("select loss, $word as word from runs where seed = $seed and loss > $least")
    parameters = ("-p", "seed=1", "-p", "least=1e-1", "-p", "word=a=b'c")
    ended = cli("query", "--file", tmp_path / "x.sql", *parameters, "--csv", "--store", filled.store.root)
    assert ended == (0, "loss,word\n2.123456789,a=b'c\n", "")


def test_columns_are_listed_without_a_store(cli: Any, tmp_path: Path):
    rows = json.loads(cli("query", "--columns", "--json", "--store", tmp_path / "none").out)
    assert {row["view"] for row in rows} == set(SHOWN)
    [loss] = [row for row in json.loads(cli("query", "--columns", "evals", "--json").out) if row["column"] == "value"]
    assert loss == {"view": "evals", "column": "value", "type": "DOUBLE", "meaning": "value of the metric"}
    assert cli("query", "--columns", "nothing").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either SQL or --file FILE"),
        (["select 1", "--file", "x.sql"], "give either SQL or --file FILE"),
        (["--file", "nowhere.sql"], "--file nowhere.sql: cannot be read (No such file or directory)"),
        (["select $a", "-p", "a"], "-p a: write NAME=VALUE"),
        (["select $a", "-p", "a b=1"], "-p a b=1: write NAME=VALUE"),
        (["select $a", "-p", "a=1", "-p", "a=2"], "a has a value already"),
        (["select 1", "--csv", "--json"], "two formats, csv and json"),
        (["select 1", "-o", "no/such/folder/x.csv"], "cannot be written"),
    ],
)
def test_wrong_options_end_with_2_and_one_message(cli: Any, filled: Workbench, arguments: list[str], message: str):
    code, out, err = cli("query", *arguments, "--store", filled.store.root)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
