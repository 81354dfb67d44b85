"""The report for papers and programs."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from xml.etree import ElementTree

import pytest

from titans_lab.errors import UserError
from titans_lab.report.formats import all_tables, to_csv, to_json, to_latex, to_markdown
from titans_lab.report.images import images
from titans_lab.report.render import study_report
from titans_lab.report.section import Row, Table, TableCell
from titans_lab.run.derived import tokens

NASTY = r"50% _of_ $x$ & <b>#1</b> \n | {a}"


@pytest.fixture
def told(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, question=NASTY, expect="Yes.")
    for index, run in enumerate(lab.runs[:5]):
        lab.end(run, "done", 2.01234567 + 0.05 * index + 0.01 * (index == 4))
    lab.end(lab.runs[5], "failed", error="RuntimeError: gone")
    return study_report(lab.study, lab.runs, lab.root)


def tables(told):
    return {name: table for name, _, table in all_tables(told)}


def test_csv_has_the_numbers_unrounded_and_every_run(told):
    rows = list(csv.DictReader(io.StringIO(to_csv(tables(told)["runs"]))))
    assert len(rows) == 6
    assert [row["score"] for row in rows[:2]] == ["2.01234567", repr(2.01234567 + 0.05)]
    assert {(row["metric"], row["unit"]) for row in rows} == {("loss", "bits per byte")}
    assert (rows[5]["score"], rows[5]["state"]) == ("", "failed")


def test_programs_read_numbers_and_their_units_in_every_table(told):
    whole = json.loads(to_json(told))["tables"]
    assert {"forest", "arms", "runs"} <= whole.keys()
    texts = [value for table in whole.values() for row in table["rows"] for value in row.values()]
    formatted = re.compile(r"[<\[+−-]?\d[\d,.]*( ?[%†×kMGT]| [KMG]iB| of \d+| ± .*| to .*|\]|, .*)?|–|[<+].*")
    assert [text for text in texts if isinstance(text, str) and formatted.fullmatch(text)] == []
    two = whole["arms"]["rows"][1]
    assert (two["depth"], two["done"], two["seeds"], two["failed"]) == (2, 2, 3, 1)
    assert two["mean"] == pytest.approx(2.01234567 + 0.05 * 3.5 + 0.005)
    assert {"parameters", "state_bytes", "tokens_per_second", "peak_memory_bytes", "wall_seconds"} <= two.keys()
    (difference,) = whole["forest"]["rows"]
    assert difference["difference_low"] < difference["difference"] < difference["difference_high"]
    assert (difference["seeds"], difference["paired"], difference["unit"]) == (2, True, "bits per byte")
    cost = json.loads(to_json(told))["cost"]
    assert cost["planned_tokens"] == sum(tokens(each.run.config) for each in told.material.outcomes)


@pytest.mark.parametrize(("apart", "bold"), [(0.002, [False, False]), (0.5, [False, True])])
def test_an_arm_is_bold_where_the_verdict_calls_it_better(lab, apart, bold):
    lab = lab(grid={"model.memory.depth": [1, 2]})
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0 + 0.01 * (index % 3) - apart * (index > 2) + 0.001 * index**2)
    arms = tables(study_report(lab.study, lab.runs, lab.root))["arms"]
    assert [row.better for row in arms.rows] == bold


def test_json_has_the_tables_and_the_statements_with_their_rows(told):
    whole = json.loads(to_json(told))
    assert whole["question"] == NASTY
    assert whole["tables"]["runs"]["rows"][0]["score"] == 2.01234567
    scores = [row["score"] for row in whole["statements"]["runs"]["rows"]]
    assert sorted(score for score in scores if score is not None)[0] == 2.01234567
    assert whole["verdict"]


def test_markdown_says_it_all_and_nothing_in_it_is_markup(told):
    text = to_markdown(told)
    assert r"50% \_of\_ $x$ &amp; \<b\>\#1\</b\> \\n \| {a}" in text
    lines = text.splitlines()
    for title in ("## Arms", "## Runs", "## Runs without a result"):
        assert title in lines
    table = lines[lines.index("## Runs") + 2 :]
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    assert "- depth 2, seed 2: failed: RuntimeError: gone" in lines


def test_latex_is_escaped_and_as_wide_as_its_columns(told):
    table = Table(("arm",), ("loss", "what"), (Row((NASTY,), ("±1", "~^")),), words=("what",))
    text = to_latex(table, "A\ntitle")
    escaped = r"50\% \_of\_ \$x\$ \& \textless{}b\textgreater{}\#1\textless{}/b\textgreater{} \textbackslash{}n | \{a\}"
    row = escaped + r" & $\pm$1 & \textasciitilde{}\textasciicircum{} \\"
    assert row in text.splitlines()
    assert r"\begin{tabular}{lrl}" in text
    assert text.startswith("% A title; needs")


def test_a_line_break_in_a_cell_does_not_end_a_row_of_latex():
    table = Table(("arm",), ("loss",), (Row(("a\n\n\\end{tabular}\r\x0b b",), ("95\N{NO-BREAK SPACE}%",)),))
    (row,) = [line for line in to_latex(table, "A").splitlines() if line.startswith("a ")]
    assert row == r"a \textbackslash{}end\{tabular\} b & 95~\% \\"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_csv_is_one_that_a_spreadsheet_would_run(text: str):
    table = Table(("arm",), ("loss", "difference"), (Row((text,), (text, TableCell("-0.500", difference=-0.5))),))
    (row,) = csv.reader(io.StringIO(to_csv(table).partition("\n")[2], newline=""))
    assert row == [f"'{text}", f"'{text}", "-0.5"]
    assert to_csv(Table((text,), (), ()))[0] not in "=+-@\t\r"


def test_figures_are_drawn_by_a_browser(told, request):
    request.getfixturevalue("browser")
    figures = [section.figure for section in told.sections if section.figure]
    drawn = images(figures, "svg")
    assert list(drawn) == [figure.name for figure in figures]
    for content in drawn.values():
        svg = ElementTree.fromstring(content)
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) > 4
    (picture,) = images(figures[:1], "png").values()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5_000


def test_without_a_browser_there_are_no_figures(told, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="--format png: a browser draws it, and none of chromium"):
        images([], "png")
