from __future__ import annotations

import pytest

from titans_lab.report.perplexity import section


def perplexity(value: float):
    common = {"task": "text", "unit": "choices a token", "direction": "minimize", "split": "test", "count": 9}
    return [common | {"metric": "token_perplexity", "value": value}, common | {"metric": "loss", "value": 2.0}]


def test_a_line_for_every_depth_and_the_papers_figures_below(lab):
    lab = lab(grid={"train.seq_len": [128, 256], "model.memory.depth": [1, 2]}, seeds=2)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0, evals=perplexity(5.0 + index))
    found = section(*lab.built)
    first, second = found.figure.traces
    assert (first["name"], first["y"], second["y"]) == ("depth 1", [5.5, 9.5], [7.5, 11.5])
    assert first["x"] == pytest.approx([128, 256], rel=0.03)
    ours, *_ = found.table.rows
    assert ours.heads == ("ours", "depth 1")
    assert ours.cells[0].startswith("5.500 ± ")
    paper = {row.heads: dict(zip(found.table.columns, row.cells, strict=True)) for row in found.table.rows}
    assert paper["arXiv v1, figure 7, 170M", "depth 1"]["2K"] == "16.02"
    assert paper["arXiv v1, figure 7, 760M", "depth 4"]["32K"] == "9.59"
    assert paper["arXiv v1, figure 7, 760M", "depth 4"]["128"] == "–"


def test_one_length_is_no_line(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=1)
    for run in lab.runs:
        lab.end(run, "done", 2.0, evals=perplexity(5.0))
    assert section(*lab.built) is None
