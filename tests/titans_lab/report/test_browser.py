"""The page in a real browser: drawn, silent, without a network, and usable without a mouse or eyes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MARKUP = "</script><img src=x onerror=alert(1)>"
SERIOUS = ("serious", "critical")
DRAWN = "document.documentElement.dataset.drawn !== undefined"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Any]:
    """The installed browser, driven by Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("playwright is not installed: pip install -e '.[test]'")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=FLAGS)
        yield chromium
        chromium.close()


def until(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript; Playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


@pytest.fixture
def look(chromium: Any):
    """`look(path, width=400, color_scheme="dark")`: the page once it is drawn; `page.said`, `page.asked`: see below."""
    opened = []

    def open_page(path: Path, width: int = 1400, **context: Any) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": 900}, **context)
        opened.append(page)
        page.said, page.asked = [], []  # on the console, and of the network
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        until(page, DRAWN)
        return page

    yield open_page
    for page in opened:
        assert page.said == []
        assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
        page.close()


@pytest.fixture
def page(lab, tmp_path: Path) -> Path:
    lab = lab(grid={"model.memory.depth": [1, 2], "model.memory.momentum": [True, False]}, seeds=2, question="Why?")
    for index, run in enumerate(lab.runs[:6]):
        lab.end(run, "done", 2.0 + 0.05 * ((5 * index) % 6), tokens_per_second=9000.0 - 300 * index)
    lab.end(lab.runs[6], "failed", error="Traceback\nRuntimeError: gone")
    lab.end(lab.runs[7], "diverged", diverged_step=200)
    lab.ngram_baselines(order_3=2.2)
    path = tmp_path / "report.html"
    path.write_text(lab.page(), encoding="utf-8")
    return path


def test_every_figure_is_drawn(look, page: Path):
    shown = look(page)
    figures = shown.evaluate("[...document.querySelectorAll('script[data-figure]')].map((each) => each.dataset.figure)")
    assert len(figures) >= 5
    for name in figures:
        figure = shown.locator(f"#{name}")
        assert figure.locator(".main-svg").count() >= 1
        assert figure.locator(".trace path, .trace image, .shapelayer path, .hm image, .heatmap-label").count() >= 4
        assert figure.bounding_box()["height"] > 100
    assert "order-3 byte n-gram 2.200" in shown.content()


def test_the_legend_hides_and_shows_an_arm(look, page: Path):
    shown = look(page)
    hidden = "document.getElementById('learning-curves').data.filter((trace) => trace.visible === 'legendonly').length"
    assert shown.evaluate(hidden) == 0
    shown.locator("#learning-curves .legendtoggle").first.click()
    until(shown, f"{hidden} > 0")
    shown.wait_for_timeout(400)  # a second click sooner would be a double click
    shown.locator("#learning-curves .legendtoggle").first.click()
    until(shown, f"{hidden} === 0")


def column(page: Any, name: str) -> list[str]:
    """The cells of the runs that are shown."""
    heads = page.locator(".runs thead th").all_inner_texts()
    rows = page.locator(".runs tbody tr:visible").all()
    return [row.locator("th, td").nth(heads.index(name)).inner_text() for row in rows]


def test_the_runs_sort_by_a_column_with_the_keyboard_and_what_is_missing_stays_last(look, page: Path):
    shown = look(page)
    losses = column(shown, "loss")
    numbers = sorted(loss for loss in losses if loss != "–")
    assert losses[:6] != numbers
    button = shown.locator(".runs thead button", has_text="loss")
    button.focus()
    shown.keyboard.press("Enter")
    assert column(shown, "loss") == [*numbers, "–", "–"]
    assert shown.locator(".runs th[aria-sort]").get_attribute("aria-sort") == "ascending"
    shown.keyboard.press("Enter")
    assert column(shown, "loss") == [*reversed(numbers), "–", "–"]
    assert shown.locator(".runs th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_the_filter_leaves_the_runs_that_have_every_word(look, page: Path):
    shown = look(page)
    shown.get_by_role("searchbox").fill("depth=2 DIVERGED")
    assert column(shown, "state") == ["diverged"]
    assert shown.locator(".filter output").inner_text() == "1 of 8 runs"
    shown.get_by_role("searchbox").fill("")
    assert len(column(shown, "state")) == 8


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("loss<2.1", [2.0, 2.05]),
        ("Loss >= 2.15", [2.15, 2.2, 2.25]),
        ("loss!=2.05 loss<=2.1", [2.0, 2.1]),
        ("depth=1 momentum=on loss<9", [2.0, 2.25]),
        ("state=done loss>2.24", [2.25]),
    ],
)
def test_the_filter_compares_the_figures_of_a_column(look, page: Path, words: str, left: list[float]):
    shown = look(page)
    shown.get_by_role("searchbox").fill(words)
    assert sorted(map(float, column(shown, "loss"))) == left


def test_a_phone_shows_the_main_columns_and_the_rest_on_demand(look, page: Path):
    headings = "[...document.querySelectorAll('#forest-title ~ figure thead th')].filter((each) => each.offsetWidth)"
    names = f"{headings}.map((each) => each.textContent)"
    shown = look(page, width=400)
    assert shown.evaluate(names)[-3:] == ["difference", "95\u00a0% interval", "verdict"]
    fits = "(table) => table.scrollWidth <= table.parentElement.clientWidth"
    assert shown.locator("#forest-title ~ figure table").evaluate(fits)
    shown.locator("#forest-title ~ figure button.columns").click()
    assert "p, Holm" in shown.evaluate(names)
    assert "p, Holm" in look(page).evaluate(names)


def test_the_training_loss_can_be_chosen(look, page: Path):
    shown = look(page)
    title = "document.querySelector('#learning-curves .ytitle').textContent"
    assert shown.evaluate(title) == "validation loss, bits per byte"
    shown.locator(".controls select").first.select_option(label="training")
    until(shown, f"{title} === 'training loss, bits per byte'")
    shown.locator(".controls select").nth(1).select_option(label="steps")
    until(shown, "document.querySelector('#learning-curves .xtitle').textContent === 'optimiser steps'")


def test_the_sql_is_shown_on_demand(look, page: Path):
    shown = look(page)
    details = shown.locator("details.evidence").first
    assert details.locator("pre").count() == 0
    details.locator("summary").click()
    assert details.locator("pre").first.inner_text().startswith("select")


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(look, page: Path, width: int, scheme: str):
    from axe_playwright_python.sync_playwright import Axe

    shown = look(page, width, color_scheme=scheme)
    shown.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(shown).response["violations"]
    assert [
        (each["id"], [node["target"] for node in each["nodes"]][:3]) for each in found if each["impact"] in SERIOUS
    ] == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_the_figures_take_the_colours_of_the_page(look, page: Path):
    ink = "getComputedStyle(document.body).color"
    line = "document.querySelector('#learning-curves .js-line').style.stroke"
    light, dark = look(page, color_scheme="light"), look(page, color_scheme="dark")
    assert [shown.evaluate(line) for shown in (light, dark)] == ["rgb(0, 114, 178)", "rgb(90, 170, 230)"]
    dark_ink = dark.evaluate(ink)
    light.get_by_role("button", name="Dark mode").click()
    until(light, f"{line} === 'rgb(90, 170, 230)'")
    assert light.evaluate(ink) == dark_ink
    light.get_by_role("button", name="Light mode").click()
    until(light, f"{line} === 'rgb(0, 114, 178)'")
    assert light.evaluate(ink) != dark_ink


def test_a_printed_page_is_light_and_has_no_controls(look, page: Path):
    shown = look(page, color_scheme="dark")
    shown.emulate_media(media="print")
    assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(28, 31, 35)"
    assert not shown.locator("#theme").is_visible()
    assert not shown.locator(".filter").is_visible()
    assert len(shown.pdf()) > 20_000


def test_markup_in_names_is_text(look, lab, tmp_path: Path):
    lab = lab(grid={"data.path": [MARKUP]}, question=MARKUP, expect="深い記憶 هل 🧠", seeds=2)
    lab.end(lab.runs[0], "done", 2.0, device_name=MARKUP)
    lab.end(lab.runs[1], "failed", error=MARKUP)
    path = tmp_path / "report.html"
    path.write_text(lab.page(), encoding="utf-8")
    shown = look(path)
    assert shown.locator("img").count() == 0
    assert shown.locator("h1").inner_text() == MARKUP
    assert shown.locator(".expectation p").inner_text() == "深い記憶 هل 🧠"
    assert MARKUP in shown.locator(".runs").inner_text()
    assert MARKUP in shown.locator(".troubles").inner_text()


@pytest.fixture
def looked_into(lab, tmp_path: Path) -> Path:
    """A page with answers by length and depth, and a look inside the memory."""
    lab = lab(grid={"model.variant": ["lmm", "mac"]}, seeds=1)
    asked = {
        "task": "needle",
        "metric": "accuracy",
        "unit": "share of answers",
        "direction": "maximize",
        "split": "test",
    }
    for run in lab.runs:
        inside = [
            {"step": step, "tokens": step * 4096, "block": 0, "layer": 0, "head": 0, "position": place}
            | {"gradient_norm": 1.0 / step, "theta": 0.1}
            for step in (50, 100)
            for place in (None, 0, 16)
        ]
        lab.end(run, "done", 2.0, memory=inside)
        for length in (1024, 2048):
            of_length = asked | {"length": length, "setting": "passkey", "count": 1}
            rows = [of_length | {"value": 1.0}, of_length | {"value": 1.0, "depth": 0.5}]
            lab.evaluate(run, f"{run.run_id}-{length}", rows)
    path = tmp_path / "report.html"
    path.write_text(lab.page(), encoding="utf-8")
    return path


def test_a_reader_can_choose_axis_smoothing_and_series(look, looked_into: Path):
    shown = look(looked_into)
    curves, inside = (shown.locator(f"section:has(#{name})") for name in ("learning-curves", "memory-training"))
    curves.locator(".controls").get_by_label("Against").select_option("steps")
    curves.locator(".controls").get_by_label("Smoothing").fill("4")
    inside.locator(".controls").get_by_label("Figure").select_option("step size theta")
    curves.get_by_text("optimiser steps", exact=True).wait_for()
    curves.get_by_text("mean of 9 points").wait_for()
    inside.locator(".ytitle", has_text="step size theta").wait_for()
    assert shown.locator("#needle-depths .hm image").count() == 2
