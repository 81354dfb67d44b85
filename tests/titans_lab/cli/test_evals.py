"""eval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench

from titans_lab.stats.proportion import wilson

SHORT = ("--lengths", "600,800", "--count", "2", "--kinds", "passkey")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A run that a sweep has finished."""
    bench = Workbench.at(tmp_path_factory.mktemp("trained"))
    assert bench.call("sweep").returncode == 0
    return bench


def of(bench: Workbench, *arguments: str) -> tuple[str, ...]:
    [run] = bench.runs()
    return ("eval", run.run_id[:7], *arguments, "--store", str(bench.store.root))


def test_an_evaluation_is_printed_kept_and_not_made_twice(cli: Any, trained: Workbench):
    first = cli(*of(trained, *SHORT, "--json"))
    assert first.code == 0
    rows = json.loads(first.out)
    assert [(row["setting"], row["length"], row["count"], row["recorded"]) for row in rows] == [
        ("passkey, ruler", 600, 2, False), ("passkey, ruler", 800, 2, False),
    ]  # fmt: skip
    assert [(row["low"], row["high"]) for row in rows] == [wilson(round(row["value"] * 2), 2) for row in rows]
    kept = trained.ask(
        "select evaluation, length, value, count from evals where evaluation is not null and depth is null"
    )
    names = ("evaluation", "length", "value", "count")
    assert sorted(map(str, kept)) == sorted(str({name: row[name] for name in names}) for row in rows)
    again = json.loads(cli(*of(trained, *SHORT, "--json")).out)
    assert again == [row | {"recorded": True} for row in rows]
    shown = cli(*of(trained, *SHORT)).out
    assert "95 % interval" in shown
    assert "from the store" in shown
    assert shown.count("  expected ") == 2  # both questions of the last length
    assert shown.count(": wrong\n") + shown.count(": right\n") == 2
    assert shown.endswith("not RULER-comparable: lengths in bytes; the store has these in the view evals\n")


def test_answers_without_writes_are_evaluations_of_their_own(cli: Any, trained: Workbench):
    asked = ("--lengths", "600", "--count", "2", "--kinds", "passkey", "--json")
    cli(*of(trained, *asked))
    [off] = json.loads(cli(*of(trained, *asked, "--writes", "off")).out)
    [on] = json.loads(cli(*of(trained, *asked)).out)
    assert (off["setting"], off["recorded"]) == ("passkey, ruler, writes off", False)
    assert (on["setting"], on["recorded"]) == ("passkey, ruler", True)
    assert off["evaluation"] != on["evaluation"]
    [kept] = trained.ask("select distinct setting from evals where evaluation = '" + off["evaluation"] + "'")
    assert kept == {"setting": off["setting"]}
    [run] = trained.ask("select loss, loss_writes_off, score_writes_off from runs")
    assert run["loss_writes_off"] == run["score_writes_off"] != run["loss"]


def test_stories_of_several_files(cli: Any, trained: Workbench):
    files = []
    for name in ("qa1_a_test.txt", "qa2_b_test.txt.gz"):
        stories = "".join(f"1 {name} {n} is here.\n2 Where is {n}?\there\t1\n" for n in range(60)).encode()
        path = trained.root / name
        path.write_bytes(gzip.compress(stories) if path.suffix == ".gz" else stories)
        files += ["--facts", str(path)]
    ended = cli(*of(trained, "--task", "babilong", *files, "--text", str(trained.text), "--lengths", "0,1K", "--json"))
    assert ended.code == 0
    rows = json.loads(ended.out)
    assert [(row["setting"], row["length"]) for row in rows] == [("qa1", 0), ("qa1", 1024), ("qa2", 0), ("qa2", 1024)]
    assert {row["note"] for row in rows} == {"lengths in bytes"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lengths", "2K,x"], "--lengths 2K,x: write tokens with commas between them, such as 2K,16K,2M (K is 1024)"),
        (["--kinds", "passkey,pin"], "--kinds passkey,pin: 'pin' is not one of passkey, number, uuid, word"),
        (["--task", "babilong"], "--facts: missing; give a file of bAbI stories"),
        (["--limit", "9"], "--limit: is for lm-eval's tasks, not for --task needle; leave it out or choose another"),
        (["--facts", "good.txt"], "--facts: is for babilong, not for --task needle"),
        (["--task", "babilong", "--facts", "good.txt", "--kinds", "word"], "--kinds: is for needle, not for --task b"),
        (["--task", "paper", "--online", "--seed", "0"], "--seed: is for needle, babilong, not for --task paper"),
        (["--lengths", "200"], "length 200: a needle of this kind takes"),
        (["--kinds", "word", "--text", "nowhere.txt"], "data.path: cannot read"),
        (["--task", "babilong", "--facts", "broken.txt.gz"], "broken.txt.gz is damaged or cut off"),
        (["--task", "babilong", "--facts", "odd.txt"], "odd.txt:2: 'no story' is not a line of a bAbI story"),
        (
            ["--task", "babilong", "--facts", "good.txt", "--text", "empty.txt"],
            "empty.txt is empty; give a book as text",
        ),
    ],
)
def test_what_is_wrong_ends_with_2_and_keeps_nothing(
    cli: Any, trained: Workbench, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
):
    monkeypatch.chdir(trained.root)
    Path("broken.txt.gz").write_bytes(gzip.compress(b"1 x\n" * 99)[:-9])
    Path("odd.txt").write_text("1 Mary is here.\nno story\n")
    Path("good.txt").write_text("1 Mary is here.\n2 Where is Mary?\there\t1\n")
    Path("empty.txt").write_text("")
    before = sorted(trained.store.root.rglob("evals/*"))
    code, out, err = cli(*of(trained, *arguments))
    assert (code, out) == (2, "")
    assert err.startswith("titans-lab: ")
    assert err.count("\n") == 1
    assert words in err
    assert sorted(trained.store.root.rglob("evals/*")) == before


def test_only_a_run_that_is_there_and_done_is_evaluated(cli: Any, bench: Workbench):
    arguments = ("--store", str(bench.store.root))
    assert "'abc': no run in" in cli("eval", "abc", *arguments).err
    run_id = bench.recorded().run_id
    ended = cli("eval", run_id, *arguments)
    assert (ended.code, ended.err) == (
        2,
        f"titans-lab: run {run_id}: is pending, not done; sweep its study to the end\n",
    )
