from __future__ import annotations

from itertools import pairwise

from titans_lab.report.needle import MOST, section


def found_at(length: int, *answers: tuple[float, int]):
    """Rows of one evaluation: the depth of each question and whether it was answered."""
    common = {"task": "needle", "metric": "accuracy", "unit": "share of answers", "direction": "maximize"}
    common |= {"split": "test", "setting": "passkey, brief", "length": length}
    share = sum(right for _, right in answers) / len(answers)
    each = [common | {"value": float(right), "count": 1, "depth": depth} for depth, right in answers]
    return [common | {"value": share, "count": len(answers)}, *each]


def test_a_cell_is_the_share_of_all_seeds_at_a_length_and_a_tenth_of_the_depth(lab):
    lab = lab(grid={"model.variant": ["lmm", "mac"]}, seeds=2)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    lab.evaluate(lab.runs[0], "a", found_at(1024, (0.05, 1), (0.09, 0), (1.0, 1)))
    lab.evaluate(lab.runs[1], "b", found_at(1024, (0.01, 1), (0.95, 0)))
    lab.evaluate(lab.runs[1], "c", found_at(2048, (0.5, 0)))
    (trace,) = section(*lab.built).figure.traces  # nobody asked mac
    assert trace["x"] == ["1K", "2K"]
    cells = {(x, place): z for place, row in enumerate(trace["z"]) for x, z in zip(trace["x"], row, strict=True)}
    assert {at: z for at, z in cells.items() if z is not None} == {
        ("1K", 0): 0.6667, ("1K", 9): 0.5, ("2K", 5): 0.0,
    }  # fmt: skip
    assert "depth 0% to 10%: 2 of 3 found" in trace["text"][0][0]
    assert trace["text"][3][0] == ""


def test_the_evaluation_with_most_questions_of_a_length_counts(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    lab.evaluate(lab.runs[0], "few", found_at(1024, (0.05, 1)))
    lab.evaluate(lab.runs[0], "many", found_at(1024, (0.05, 1), (0.09, 0), (0.5, 1)))
    (trace,) = section(*lab.built).figure.traces
    assert "1 of 2 found" in trace["text"][0][0]
    assert "1 of 1 found" in trace["text"][5][0]


def test_every_arm_has_a_frame_and_the_rest_is_said(lab):
    count = MOST + 1
    lab = lab(grid={"model.dim": [16 * (place + 1) for place in range(count)]}, seeds=1)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
        lab.evaluate(run, run.run_id, found_at(1024, (0.5, 1)))
    found = section(*lab.built)
    layout = found.figure.layout
    assert len({trace["xaxis"] for trace in found.figure.traces}) == MOST
    assert len(layout["annotations"]) == MOST
    assert "1 more are not drawn" in found.caption
    frames = [layout[f"{axis}axis{place or ''}"]["domain"] for place in (0, *range(2, MOST + 1)) for axis in "xy"]
    assert all(0 <= low < high <= 1 for low, high in frames)
    rows = sorted({layout[f"yaxis{place or ''}"]["domain"] for place in (0, *range(2, MOST + 1))})
    assert all(high < low for (_, high), (low, _) in pairwise(rows))


def test_without_depths_there_is_no_map(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert section(*lab.built) is None
