from __future__ import annotations

import re

import pytest

from titans_lab.report.arms import PALETTE, arrange
from titans_lab.report.data import gather
from titans_lab.report.side_by_side import side_by_side, table
from titans_lab.run.identity import model_id
from titans_lab.store.store import Store

TITLE = "Speed, measured side by side"


def measured(lab, name: str, run, length: int, ratio: float, **more) -> dict:
    """A bench of one row, as the verb keeps it; `name` is when it began."""
    row = {"model": model_id(run.config.model), "length": length, "against": "transformer", "batch": 4}
    row |= {"precision": "float32", "tokens_per_second": 1000 * ratio, "product_share": 0.25}
    row |= {"ratio": ratio, "ratio_low": 0.5 * ratio, "ratio_high": 1.5 * ratio} | more
    where = {"bench": name, "started": f"2026-01-0{name}T00:00:00+00:00", "device_name": "AMD EPYC", "threads": 2}
    Store(lab.root).save_bench(name, where | {"rows": [row]})
    return row


@pytest.fixture
def benched(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2)
    shallow, deep = lab.runs[0], lab.runs[2]
    measured(lab, "1", shallow, 512, 0.9)
    measured(lab, "2", shallow, 512, 0.4)
    measured(lab, "3", shallow, 2048, 1.2)
    measured(lab, "4", deep, 512, 0.2)
    measured(lab, "5", deep, 512, 0.3, model="0123456789abcdef")
    return lab


def drawn(lab):
    material = gather(lab.study, lab.runs, lab.root)
    return material, arrange(lab.study, material.outcomes)


def test_an_arm_is_a_line_through_its_latest_ratios_with_their_spread(benched):
    figure = side_by_side(*drawn(benched))
    first, second = figure.traces
    assert (first["x"], first["y"]) == ([512, 2048], [0.4, 1.2])
    assert first["error_y"]["array"] == pytest.approx([0.2, 0.6])
    assert first["error_y"]["arrayminus"] == pytest.approx([0.2, 0.6])
    assert (second["x"], second["y"], second["name"]) == ([512], [0.2], "depth 2")
    assert [trace["error_y"]["color"] for trace in (first, second)] == [PALETTE[0][0], PALETTE[1][0]]
    assert figure.layout["xaxis"]["tickvals"] == [512, 2048]


def test_the_table_has_the_numbers(benched):
    rows = table(*drawn(benched)).rows
    setting = "transformer (batch 4, float32, AMD EPYC, 2 threads)"
    assert [row.heads for row in rows] == [("1",), ("1",), ("2",)]
    assert rows[0].cells == ("512", "400", "0.4", "0.2", "0.6", "0.250", setting)


def test_baselines_are_lines_of_their_own(benched):
    measured(benched, "6", benched.runs[0], 512, 5.0, against="titans-pytorch")
    names = [trace["name"] for trace in side_by_side(*drawn(benched)).traces]
    assert names == [
        "depth 1 against titans-pytorch (batch 4, float32, AMD EPYC, 2 threads)",
        "depth 1 against transformer (batch 4, float32, AMD EPYC, 2 threads)",
        "depth 2 against transformer (batch 4, float32, AMD EPYC, 2 threads)",
    ]


def test_the_page_has_the_section_with_its_table_and_figure(benched):
    html = benched.page()
    section = html[html.index(f">{TITLE}</h2>") :].partition("</section>")[0]
    assert section.count("<tr>") == 4
    assert ">400</td>" in section
    assert 'id="side-by-side"' in section
    assert 'data-statements="benches"' in section
    assert re.findall(r'data-figure="([^"]+)"', html)[-1] == "side-by-side"


def test_there_is_no_section_where_nothing_of_the_study_was_measured(lab):
    lab = lab()
    measured(lab, "1", lab.runs[0], 512, 0.9, model="0123456789abcdef")
    measured(lab, "2", lab.runs[0], 512, float("nan"))
    measured(lab, "3", lab.runs[0], 512, 0.9, ratio_low=None)
    assert TITLE not in lab.page()


def test_a_damaged_bench_is_noted_and_left_out(benched):
    (benched.root / "benches" / "3.json").write_text('{"rows": 1}')
    material, design = drawn(benched)
    assert side_by_side(material, design).traces[0]["x"] == [512]
    (damage,) = material.evidence.damage
    assert damage.endswith("3.json: is of another form: rows: 1 is not of type list")
