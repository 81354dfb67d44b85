"""Every verb that prints figures prints them for programs, under one spelling of the formats."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pasts import finish
from workbench import Workbench

from titans_lab.run.run import Run

#: They print a path, a schema, and lines about runs on standard error, which are no figures.
WITHOUT = {"new", "publish", "schema", "serve", "work"}
COMMANDS = Path(__file__).parents[3] / "docs" / "commands.md"
FORMS = ("json", "csv", "md")
BUDGETS = "grid.train.tokens=[1000, 2000, 4000, 8000, 16000, 32000]"
SEARCH = "\nsearch: {trials: 2, space: {train.lr: {float: [1e-3, 1e-1], log: true}}}\n"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def formats() -> dict[str, list[str]]:
    """Return the formats of each verb by the page of commands, which another test compares with the program."""
    _, *sections = re.split(r"^##+ `titans-lab ", COMMANDS.read_text(), flags=re.MULTILINE)
    found = {
        section.partition("`")[0]: re.search(r"^\* `--format <(.*)>`", section, re.MULTILINE) for section in sections
    }
    return {name: choices[1].split("|") if choices else [] for name, choices in found.items() if name != "data"}


def parsed(form: str, text: str) -> list[Any]:
    """Return the rows of an output, which is nothing but the format."""
    if form == "json":
        found = json.loads(text, parse_constant=pytest.fail)
        return found if isinstance(found, list) else [found]
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text), strict=True))
    head, marks, *rows = text.splitlines()
    assert set(marks) <= set("| -:")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in (head, *rows)} == {marks.count("|")}
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A run that a sweep has finished."""
    bench = Workbench.at(tmp_path_factory.mktemp("trained"))
    assert bench.call("sweep").returncode == 0
    return bench


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Runs of six budgets, whose losses follow a law, a study with a search."""
    bench = Workbench.at(tmp_path_factory.mktemp("recorded"))
    finish(bench.runs(BUDGETS), bench.store, loss=loss_of, tokens=lambda run: run.config.train.tokens)
    (bench.root / "search.yaml").write_text(bench.study.read_text() + SEARCH)
    return bench


def loss_of(run: Run) -> float:
    """Return a loss of seven digits before the point, by a law."""
    return 1e6 * (1 + 20 / run.config.train.tokens**0.4)


#: Verb: a command line on a bench.
CALLS: dict[str, Callable[[Workbench], list[object]]] = {
    "plan": lambda bench: [bench.study, BUDGETS],
    "status": lambda bench: [bench.study, BUDGETS],
    "query": lambda bench: ["select run_id, loss from runs order by 1"],
    "fit": lambda bench: [bench.study, BUDGETS],
    "compare": lambda bench: [run.run_id for run in bench.runs(BUDGETS)[:2]],
    "cancel": lambda bench: ["--state", "running"],
    "rm": lambda bench: ["--state", "failed", "--yes"],
    "export": lambda bench: ["-o", bench.root / "all.tar.gz"],
    "import": lambda bench: [bench.root / "all.tar.gz"],
    "compact": lambda bench: [],
    "doctor": lambda bench: [],
    "rerun": lambda bench: [bench.study, BUDGETS, "--state", "failed"],
    "tune": lambda bench: [bench.root / "search.yaml", "--no-run"],
    "logs": lambda bench: [bench.runs(BUDGETS)[0].run_id],
}
#: The same, of verbs that train or that load a model.
TRAINED: dict[str, Callable[[Workbench], list[object]]] = {
    "sweep": lambda bench: [bench.study, "--no-verify"],
    "logs": lambda bench: [bench.runs()[0].run_id],
    "verify": lambda bench: [bench.study],
    "bench": lambda bench: [bench.study, "--against", "lstm", "--rounds", 1],
    "generate": lambda bench: [bench.runs()[0].run_id, "--prompt", "a, b\n| c", "--tokens", 4],
    "eval": lambda bench: [bench.runs()[0].run_id, "--lengths", "600", "--count", 1, "--kinds", "passkey"],
    "reproduce": lambda bench: [bench.study, "--runs", 1],
}


def test_every_verb_with_figures_has_the_formats_and_is_tried_here():
    found = formats()
    assert {name for name, choices in found.items() if not choices} <= WITHOUT
    assert all({"csv", "json", "md"} <= set(choices) for choices in found.values() if choices)
    assert {*CALLS, *TRAINED, "report", "data prepare", "data show"} == found.keys() - WITHOUT


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verb", CALLS)
def test_what_a_verb_prints_is_the_format_alone(cli: Any, recorded: Workbench, verb: str, form: str):
    if verb == "import":
        cli("export", "-o", recorded.root / "all.tar.gz", "--store", recorded.store.root)
    line = (verb, *CALLS[verb](recorded), "--format", form)
    printed = cli(*line, "--store", recorded.store.root)
    rows = parsed(form, printed.out)
    assert rows or verb in ("cancel", "rerun", "logs", "tune")
    cells = [str(cell) for row in rows for cell in row.values()] if form == "csv" else [printed.out]
    assert not any(re.search(r"\d,\d{3},\d{3}|\d\.\d+[KM]\b", cell) for cell in cells)


@pytest.mark.parametrize("verb", TRAINED)
def test_what_a_verb_that_trains_prints_is_the_format_alone(cli: Any, trained: Workbench, verb: str):
    line = (verb, *TRAINED[verb](trained), "--store", trained.store.root)
    assert parsed("csv", cli(*line, "--format", "csv").out)
    if verb not in ("bench", "verify", "reproduce"):  # which would measure again
        assert parsed("json", cli(*line, "--json").out)
        assert parsed("md", cli(*line, "--format", "md").out)


@pytest.mark.parametrize("form", FORMS)
def test_a_prepared_text_is_described_in_every_format(cli: Any, bench: Workbench, form: str):
    folder = bench.root / "prepared"
    made = parsed(form, cli("data", "prepare", bench.text, "-o", folder, "--format", form).out)
    assert parsed(form, cli("data", "show", folder, "--format", form).out) == made


def test_a_report_carries_numbers_and_not_words(cli: Any, recorded: Workbench, tmp_path: Path):
    at = ("report", recorded.study, BUDGETS, "--store", recorded.store.root)
    cli(*at, "--json", "-o", tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    scores = [loss_of(run) for run in recorded.runs(BUDGETS)]
    assert [row["score"] for row in found["tables"]["runs"]["rows"]] == scores
    cli(*at, "--csv", "-o", tmp_path / "tables")
    rows = parsed("csv", (tmp_path / "tables" / "runs.csv").read_text())
    assert [float(row["score"]) for row in rows] == scores


@pytest.mark.parametrize(
    "line",
    [
        ("query", "select 1", "-o", "rows.xml"),
        ("report", "-o", "page.pdf"),
        ("compare", "a", "b", "-o", "page.md"),
        ("export", "-o", "store.zip"),
    ],
)
def test_an_output_of_an_unknown_suffix_is_refused(cli: Any, recorded: Workbench, line: tuple[str, ...]):
    ended = cli(*line, "--store", recorded.store.root)
    assert (ended.code, ended.out) == (2, "")
    assert f"-o {line[-1]}: " in ended.err
    assert not Path(line[-1]).exists()


def test_two_formats_are_refused(cli: Any, recorded: Workbench):
    for given in (("--csv", "--json"), ("--format", "md", "--csv")):
        ended = cli("status", *given, "--store", recorded.store.root)
        assert (ended.code, ended.out) == (2, "")
        assert "status: two formats, csv and " in ended.err
    assert cli("status", "--format", "csv", "--csv", "--store", recorded.store.root).code == 0
