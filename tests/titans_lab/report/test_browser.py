"""The page in a real browser: every figure drawn, nothing on the console, nothing asked of the network."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
    "--dump-dom",
)


def open_page(browser: str, path: Path, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what they wrote to the console."""
    profile = path.parent / "profile"
    command = [browser, *FLAGS, *flags, f"--user-data-dir={profile}", path.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture
def page(lab, tmp_path: Path) -> Path:
    lab = lab(grid={"model.memory.depth": [1, 2], "model.memory.momentum": [True, False]}, seeds=2)
    for index, run in enumerate(lab.runs[:7]):
        lab.end(run, "done", 2.0 + 0.05 * index, tokens_per_second=9000.0 - 300 * index)
    lab.end(lab.runs[7], "diverged", diverged_step=200)
    lab.floors(order_3=2.2)
    path = tmp_path / "report.html"
    path.write_text(lab.page(), encoding="utf-8")
    return path


def test_every_figure_is_drawn_and_the_console_is_silent(browser: str, page: Path):
    document, console = open_page(browser, page, "--window-size=1400,1000")
    assert console == []
    assert 'data-drawn="6"' in document
    figures = [part.partition("<figcaption")[0] for part in document.split('role="img"')[1:]]
    assert len(figures) == 6
    for figure in figures:
        assert "main-svg" in figure
        assert len(re.findall(r'<g class="trace scatter', figure)) >= 4
    assert document.count("order-3 byte model 2.200") >= 2


def test_the_figures_take_the_colours_of_the_page(browser: str, page: Path):
    light, _ = open_page(browser, page)
    dark, console = open_page(browser, page, "--blink-settings=preferredColorScheme=0")
    shades = [drawn.partition('role="img"')[2].partition("What went wrong")[0] for drawn in (light, dark)]
    assert console == []
    assert ["rgb(0, 114, 178)" in shade for shade in shades] == [True, False]
    assert ["rgb(90, 170, 230)" in shade for shade in shades] == [False, True]


#: Sets the controls of a figure as a reader would.
CHOOSE = """<script>
addEventListener("load", () => {
  const set = (figure, kind, place, value, event) => {
    const input = document.getElementById(figure).previousElementSibling.querySelectorAll(kind)[place];
    input.value = value;
    input.dispatchEvent(new Event(event));
  };
  set("learning-curves", "select", 0, 1, "change");
  set("learning-curves", "input", 0, 4, "input");
  set("inside-training", "select", 0, 1, "change");
});
</script></body>"""


@pytest.fixture
def looked_into(lab, tmp_path: Path) -> Path:
    """A page with answers by length and depth, and a look inside the memory."""
    lab = lab(grid={"model.variant": ["lmm", "mac"]}, seeds=1)
    asked = {"task": "needle", "metric": "accuracy", "unit": "share of answers", "direction": "higher", "split": "test"}
    for run in lab.runs:
        inside = [
            {"step": step, "tokens": step * 4096, "block": 0, "layer": 0, "head": 0, "position": place}
            | {"gradient_norm": 1.0 / step, "theta": 0.1}
            for step in (50, 100)
            for place in (None, 0, 16)
        ]
        lab.end(run, "done", 2.0, inside=inside)
        for length in (1024, 2048):
            of_length = asked | {"length": length, "setting": "passkey", "count": 1}
            rows = [of_length | {"value": 1.0}, of_length | {"value": 1.0, "depth": 0.5}]
            lab.evaluate(run, f"{run.run_id}-{length}", rows)
    path = tmp_path / "report.html"
    path.write_text(lab.page().replace("</body>", CHOOSE), encoding="utf-8")
    return path


def test_a_reader_can_choose_axis_smoothing_and_series(browser: str, looked_into: Path):
    document, console = open_page(browser, looked_into, "--window-size=1400,1000")
    assert console == []
    assert "optimiser steps" in document
    assert "mean of 9 points" in document
    curves, inside = (document.partition(f'id="{name}"')[2] for name in ("learning-curves", "inside-training"))
    assert ">optimiser steps<" in curves.partition("<figcaption")[0]
    assert ">step size theta<" in inside.partition("<figcaption")[0].partition("ytitle")[2]
    assert 'class="hm"' in document.partition('id="needle-depths"')[2].partition("<figcaption")[0]
