from __future__ import annotations

import dataclasses
import hashlib
import json
from html.parser import HTMLParser

import plotly.graph_objects
import pytest

from titans_lab.report import page, study_report
from titans_lab.report.bundle import BUNDLE, PLOTLY_SHA256, PLOTLY_VERSION, plotly_js
from titans_lab.report.render import report
from titans_lab.store.query import Snapshot, query

DEPTHS = {"model.memory.depth": [1, 2]}
MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}<!--"
TRACEBACK = "Traceback (most recent call last):\n  File 'train.py', line 3\nRuntimeError: <b>the device is gone</b>"


class Page(HTMLParser):
    """Elements, texts by element, and the data of the figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def words(self, *tags: str) -> list[str]:
        """Texts directly inside these elements."""
        return [" ".join(text.split()) for tag, text in self.texts if tag in tags and text.strip()]

    @property
    def said(self) -> str:
        """All that is not code."""
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())

    @property
    def statements(self) -> dict:
        """The statements that the numbers come from, by name."""
        return json.loads(self.script("id", "evidence"))

    @property
    def figures(self) -> dict:
        """What the script draws, by name."""
        names = [attributes["data-figure"] for _, attributes in self.elements if "data-figure" in attributes]
        return {name: json.loads(self.script("data-figure", name)) for name in names}

    def script(self, key: str, value: str) -> str:
        """The content of the script with this attribute."""
        scripts = [attributes for tag, attributes in self.elements if tag == "script"]
        texts = [text for tag, text in self.texts if tag == "script"]
        return next(text for each, text in zip(scripts, texts, strict=True) if each.get(key) == value)


def digest(html: str) -> str:
    """What stands for a page in a comparison: the difference of two pages takes minutes to tell."""
    return hashlib.sha256(html.encode()).hexdigest()


@pytest.fixture
def filled(lab):
    lab = lab(grid=DEPTHS, question="Is deeper better?", expect="Yes, up to 2.")
    for run, loss in zip(lab.runs, (2.1, 2.2, 2.3, 2.0), strict=False):
        lab.end(run, "done", loss)
    lab.end(lab.runs[4], "failed", error=TRACEBACK)
    lab.ngram_baselines(order_0=4.7, order_1=3.5, order_3=2.4)
    return lab


def test_the_page_tells_the_study(filled):
    page = Page(filled.page())
    for words in ("Is deeper better?", "Yes, up to 2.", "6 runs: 4 done, 1 failed and 1 not started.", "order 3"):
        assert words in page.said
    assert page.words("h2") == [
        "Result",
        "Final loss by depth",
        "Differences from the baseline (depth 1)",
        "Arms",
        "Learning curves",
        "Throughput",
        "Loss against throughput",
        "Loss against peak memory",
        "Runs without a result",
        "Runs not started",
        "Runs",
        "Where the numbers come from",
    ]


def test_the_table_of_arms(filled):
    page = filled.page()
    table = Page(page[page.index('id="arms-title"') - 20 : page.index("</table>", page.index('id="arms-title"')) + 8])
    cells = table.words("td")
    assert cells == ["3 of 3", "0", "2.200", "0.100", "0.248", "1 of 3", "1", "2.000", "–", "–"]
    same = (
        "The same for all: diverged 0, cancelled 0, parameters 421K, state 64 KiB, tokens/s 8,600, peak memory 512 MiB"
    )
    assert same in page


def test_the_score_without_writes_stands_beside_the_score_of_the_arms_that_write(lab):
    made = lab(grid={"model.variant": ["transformer", "lmm"]}, seeds=[0, 1])
    for run in made.runs:
        off = {"loss_writes_off": 2.4, "score_writes_off": 2.4} if run.config.model.variant == "lmm" else {}
        made.end(run, "done", loss=2.0 + 0.1 * run.seed, score=2.0 + 0.1 * run.seed, **off)
    page = made.page()
    table = Page(page[page.index('id="arms-title"') - 20 : page.index("</table>", page.index('id="arms-title"')) + 8])
    place = table.words("th").index("writes off")
    assert table.words("th")[place - 1] == "± 95 %"
    assert table.words("td").count("2.400") == 1
    assert table.words("td").count("–") == 1


def test_why_a_run_failed_stands_in_a_line_with_the_rest_below(filled):
    page = Page(filled.page())
    assert ("p", "RuntimeError: <b>the device is gone</b>") in page.texts
    assert TRACEBACK in [text for tag, text in page.texts if tag == "pre"]


def test_every_run_shows_its_configuration(filled):
    page = Page(filled.page())
    (base,) = [text for tag, text in page.texts if tag == "pre" and "model.variant" in text]
    assert 'model.variant: "mac"' in base
    assert "model.memory.depth: 1" in base
    differences = [text for tag, text in page.texts if tag == "td" and text in ("none", "model.memory.depth=2")]
    assert differences == ["none"] * 3 + ["model.memory.depth=2"] * 3


def test_the_sql_shown_gives_the_numbers(filled):
    statement = Page(filled.page()).statements["runs"]["sql"]
    losses = query(filled.root, statement).column("score").to_pylist()
    assert sorted(loss for loss in losses if loss is not None) == [2.0, 2.1, 2.2, 2.3]


def test_figures_are_what_plotly_accepts_and_have_words_for_those_who_do_not_see_them(filled):
    page = Page(filled.page())
    for figure in page.figures.values():
        plotly.graph_objects.Figure(data=figure["data"], layout=figure["layout"])
    plots = [attributes for _, attributes in page.elements if attributes.get("class") == "plot"]
    assert [plot["id"] for plot in plots] == list(page.figures)
    assert all(plot["role"] == "group" and len(plot["aria-label"]) > 40 for plot in plots)
    assert json.loads(page.script("id", "settings"))["config"]["showSendToCloud"] is False


def test_every_colour_of_the_figures_has_one_for_the_dark_page(filled):
    page = Page(filled.page())
    text = json.dumps(page.figures)
    used = {shade for shade in json.loads(page.script("id", "settings"))["dark"] if shade in text}
    assert {word for word in text.split('"') if word.startswith("#")} <= used


def test_nothing_is_loaded_from_elsewhere(filled):
    html = filled.page()
    page = Page(html)
    assert not [attributes for _, attributes in page.elements if {"src", "srcset", "action"} & set(attributes)]
    targets = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert targets
    assert all(target.startswith("#") for target in targets)
    assert not {"link", "iframe", "img", "object", "embed"} & {tag for tag, _ in page.elements}
    styles = "".join(text for tag, text in page.texts if tag == "style")
    assert "@import" not in styles
    assert "url(" not in styles
    assert "default-src 'none'" in html


def test_plotly_is_there_once_and_the_page_is_small(filled):
    html = filled.page()
    assert html.count(plotly_js()) == 1
    assert len(html.encode()) < 2e6
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() == PLOTLY_SHA256
    assert f"v{PLOTLY_VERSION}" in plotly_js()[:100]


def test_equal_stores_give_equal_pages(filled):
    one, other = (study_report(filled.study, filled.runs, filled.root) for _ in range(2))
    study = dataclasses.replace(other.material.study, drawn=one.material.study.drawn)
    assert digest(page(one)) == digest(page(report(study, Snapshot(filled.root))))


def test_markup_is_inert_wherever_it_comes_from(lab):
    lab = lab(grid={"data.path": [MARKUP, "b"]}, question=MARKUP, expect=MARKUP, seeds=2)
    lab.end(lab.runs[0], "done", 2.0, device_name=MARKUP, host=MARKUP)
    lab.end(lab.runs[1], "failed", error=f"{MARKUP}\n{MARKUP}")
    html = lab.page()
    page = Page(html)
    assert html.count("<script>alert") == 0
    assert html.replace(plotly_js(), "").count("<img") == 0
    scripts = [attributes for tag, attributes in page.elements if tag == "script" and "data-figure" not in attributes]
    assert [attributes["id"] for attributes in scripts] == ["origin", "plotly", "settings", "evidence", "page"]
    assert page.said.count("{{ 7 * 7 }}") > 5
    assert "49" not in page.said.split("Where the numbers")[0].split("Result")[0]
    hover = page.figures["final-score"]["data"][0]["text"][0]
    assert "&lt;img src=x" in hover


@pytest.mark.parametrize("state", ["diverged", "failed", "oom"])
def test_a_study_in_which_nothing_ended_well(lab, state: str):
    lab = lab(grid=DEPTHS)
    for run in lab.runs:
        lab.end(run, state, error="MemoryError: too deep", diverged_step=7)
    page = Page(lab.page())
    assert "No run reached a final loss." in page.said
    assert "MemoryError: too deep" in page.said
    assert "Final loss by depth" not in page.said
    assert "Learning curves" in page.said


def test_a_study_before_its_first_run(lab):
    page = Page(lab(grid=DEPTHS).page())
    assert "6 runs: 6 not started. Interim result: 6 runs not finished." in page.said
    assert "No run reached" not in page.said
    assert "No run has recorded anything yet." in page.said
    assert page.figures == {}


def test_a_study_of_one_run(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    page = Page(lab.page())
    assert "1 run: 1 done. Final loss: 2.000 bits per byte (one seed)." in page.said
    figures = ["final-score", "learning-curves", "throughput", "score-throughput", "score-peak-memory"]
    assert list(page.figures) == figures


def test_a_study_without_runs(lab):
    lab = lab()
    lab.runs = []
    assert "The study has no runs." in Page(lab.page()).said


def test_a_lost_and_a_live_run(lab):
    lab = lab(seeds=1)
    lab.start(lab.runs[0], 2.0)
    page = Page(lab.page())
    assert "1 run: 1 lost (the worker died)." in page.said
    assert "the worker died without a message" in page.said


def test_names_in_any_script(lab):
    lab = lab(question="深い記憶は役に立つか？ هل الأعمق أفضل؟ 🧠", seeds=1)
    assert "深い記憶は役に立つか？ هل الأعمق أفضل؟ 🧠" in Page(lab.page()).said
