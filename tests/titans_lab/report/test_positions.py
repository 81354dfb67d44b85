from __future__ import annotations

import pytest

from titans_lab.report.positions import section

DEPTHS = {"model.memory.depth": [1, 2]}


def rows(**values: float):
    """The loss of all of the split, and of stretches: rows(_0=4.0)."""
    common = {"task": "text", "metric": "loss", "unit": "bits per byte", "direction": "minimize", "split": "test"}
    stretches = [common | {"value": value, "position": int(name[1:]), "count": 9} for name, value in values.items()]
    return [common | {"value": 2.0, "count": 99}, *stretches]


def test_an_arm_is_the_mean_of_its_seeds_at_each_place(lab):
    lab = lab(grid=DEPTHS, seeds=2)
    lab.end(lab.runs[0], "done", 2.0, evals=rows(_0=5.0, _1=4.0, _2=3.0))
    lab.end(lab.runs[1], "done", 2.0, evals=rows(_0=5.5, _1=4.0, _2=2.0))
    lab.end(lab.runs[2], "done", 2.0, evals=rows(_0=6.0))
    found = section(*lab.built)
    band, line, other = found.figure.traces
    assert (line["x"], line["y"]) == ([1, 2, 3], [5.25, 4.0, 2.5])
    assert (band["x"], band["y"]) == ([1, 2, 3, 3, 2, 1], [5.5, 4.0, 3.0, 2.0, 4.0, 5.0])
    assert (other["x"], other["y"]) == ([1], [6.0])
    assert found.figure.layout["yaxis"]["title"]["text"] == "test loss, bits per byte"
    assert found.evidence == ("positions",)


@pytest.mark.parametrize("evals", [[], rows()])
def test_runs_that_did_not_record_it_have_no_figure(lab, evals):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0, evals=evals)
    assert section(*lab.built) is None
