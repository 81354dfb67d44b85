"""What is not known yet is said as such and never as "nan" or "inf", on every screen and in every format."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from pasts import ENV, finish
from workbench import Workbench

from titans_lab.run.run import record_of
from titans_lab.store.recorder import Recorder
from titans_lab.study.study import load_study
from titans_lab.sweep import record_study

GRID = ("grid.train.lr=[0.1, 0.01]", "seeds=3")
NO_NUMBER = re.compile(r"(?<![\w-])-?(nan|inf|infinity)(?![\w-])", re.IGNORECASE)
Line = Callable[[Workbench], list[object]]

#: What each verb is asked; every one exists in the formats for programs.
LINES: dict[str, Line] = {
    "plan": lambda bench: ["plan", bench.study, *GRID],
    "status of a study": lambda bench: ["status", bench.study, *GRID],
    "status of a store": lambda bench: ["status"],
    "status of some runs": lambda bench: ["status", "--state", "running,diverged,failed,pending,done"],
    "query": lambda bench: ["query", "select * exclude (config, env) from runs order by run_id"],
    "differences": lambda bench: ["query", "select * from differences order by all"],
    "compare": lambda bench: ["compare", *(run.run_id for run in bench.runs(*GRID))],
}


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Two runs with a result, and one each that runs, failed, diverged and is pending."""
    bench = Workbench.at(tmp_path_factory.mktemp("half-done"))
    study, runs = load_study(bench.study, GRID), bench.runs(*GRID)
    finish(runs[:2], bench.store, loss=2.5, valid_loss=2.5, tokens=256)
    for run in runs[2:]:
        bench.store.run(run.run_id).create(record_of(run, "synthetic"))
    running, failed, diverged = (bench.store.run(run.run_id).new_attempt() for run in runs[2:5])
    record_study(study.record(runs), bench.store)
    Recorder(failed, ENV).commit("failed", {}, "Traceback\nRuntimeError: no")
    summary = {"loss": math.nan, "score": math.nan, "train_loss": math.inf, "diverged_step": 2, "tokens": 64}
    Recorder(diverged, ENV).commit("diverged", summary)
    log = Recorder(running, ENV)
    log.log(step=1, tokens=64, loss=math.nan, grad_norm=math.inf)
    with running.claim.kept():
        yield bench


class Words(HTMLParser):
    """Collects what a page shows, and the JSON that it carries."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.within, self.words, self.documents = [""], list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self.within.append("json" if dict(attrs).get("type") == "application/json" else "code")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.within.pop()

    def handle_data(self, data: str) -> None:
        {"": self.words, "json": self.documents}.get(self.within[-1], []).append(data)


@pytest.mark.parametrize("form", ["table", "json", "md"])
@pytest.mark.parametrize("line", LINES)
def test_no_verb_prints_what_is_no_number(cli: Any, half_done: Workbench, line: str, form: str):
    ended = cli(*LINES[line](half_done), "--format", form, "--store", half_done.store.root)
    assert ended.code == 0
    assert ended.out
    if line != "query" or form == "json":  # in a table, the answer to SQL is the value itself
        assert not NO_NUMBER.search(ended.out + ended.err)
    if form == "json":
        json.loads(ended.out, parse_constant=pytest.fail)


def test_a_report_shows_and_carries_nothing_that_is_no_number(cli: Any, half_done: Workbench, tmp_path: Any):
    for what in ([half_done.study, *GRID], []):
        for suffix in ("html", "md", "json"):
            path = tmp_path / f"page.{suffix}"
            assert cli("report", *what, "-o", path, "--store", half_done.store.root).code == 0
            text = path.read_text()
            if suffix == "json":
                json.loads(text, parse_constant=pytest.fail)
            if suffix == "html":
                found = Words(text)
                assert found.documents
                for document in found.documents:
                    json.loads(document, parse_constant=pytest.fail)
                text = "".join(found.words)
            assert not NO_NUMBER.search(text)


def test_the_log_of_a_run_is_valid_json(cli: Any, half_done: Workbench):
    running = half_done.runs(*GRID)[2]
    ended = cli("logs", running.run_id, "--json", "--store", half_done.store.root)
    [row] = json.loads(ended.out, parse_constant=pytest.fail)
    assert (row["step"], row["loss"], row["valid_loss"]) == (1, None, None)
