from __future__ import annotations

import pytest

from titans_lab.report.arms import arrange
from titans_lab.report.data import gather
from titans_lab.report.final_score import final_score

DEPTHS = {"model.memory.depth": [1, 2]}


def draw(lab):
    material = gather(lab.study, lab.runs, lab.root)
    return final_score(material, arrange(lab.study, material.outcomes))


def finish(lab, losses):
    for run, loss in zip(lab.runs, losses, strict=False):
        lab.end(run, "done", loss)
    return lab


def means(figure):
    return [trace for trace in figure.traces if trace.get("marker", {}).get("symbol") == "line-ew"]


def dots(figure):
    return [y for trace in figure.traces if trace.get("marker", {}).get("symbol") == "circle" for y in trace["y"]]


def test_every_seed_is_a_dot_and_the_mean_is_marked_with_its_interval(lab):
    figure = draw(finish(lab(grid=DEPTHS), [2.1, 2.2, 2.3, 1.9, 2.0, 2.1]))
    assert dots(figure) == [2.1, 2.2, 2.3, 1.9, 2.0, 2.1]
    assert [bar["y"] for bar in means(figure)] == [[pytest.approx(2.2)], [pytest.approx(2.0)]]
    assert [bar["error_y"]["array"] for bar in means(figure)] == [[pytest.approx(0.2484, abs=1e-4)]] * 2
    assert [bar["x"] for bar in means(figure)] == [[1], [2]]
    assert "depth 1: mean 2.200 ± 0.248 over 3 seeds" in figure.alt


def test_one_seed_has_a_mean_and_no_whisker(lab):
    figure = draw(finish(lab(grid=DEPTHS, seeds=1), [2.1, 2.2]))
    assert [bar["y"] for bar in means(figure)] == [[2.1], [2.2]]
    assert not any("error_y" in bar for bar in means(figure))


def test_a_diverged_seed_is_a_cross_and_not_part_of_the_mean(lab):
    lab = finish(lab(grid=DEPTHS), [2.1, 2.2])
    lab.end(lab.runs[2], "diverged", 9.0, diverged_step=70)
    figure = draw(lab)
    (cross,) = [trace for trace in figure.traces if trace.get("marker", {}).get("symbol") == "x-thin"]
    assert cross["text"] == ["depth 1, seed 2 diverged at step 70"]
    assert means(figure)[0]["y"] == [pytest.approx(2.15)]
    assert "diverged" in figure.caption


def test_ngram_baselines_near_the_dots_are_lines_and_far_ones_are_named(lab):
    lab = finish(lab(grid=DEPTHS), [2.1, 2.2, 2.3, 1.9, 2.0, 2.1])
    lab.ngram_baselines(order_0=4.7, order_3=2.38)
    figure = draw(lab)
    assert [line["y0"] for line in figure.layout["shapes"]] == [2.38]
    assert [name["text"] for name in figure.layout["annotations"]] == ["order-3 byte n-gram 2.380"]
    assert "order-0 byte n-gram 4.700" in figure.caption
    low, high = figure.layout["yaxis"]["range"]
    assert low < 1.9
    assert 2.38 < high < 4


def test_the_names_of_ngram_baselines_that_are_close_stand_together(lab):
    lab = finish(lab(grid=DEPTHS), [2.1, 2.2, 2.3, 1.9, 2.0, 2.1])
    lab.ngram_baselines(order_0=2.45, order_1=2.2, order_3=2.21)
    names = draw(lab).layout["annotations"]
    assert [(name["text"], name["y"]) for name in names] == [
        ("order-0 byte n-gram 2.450", 2.45),
        ("order-3 byte n-gram 2.210<br>order-1 byte n-gram 2.200", 2.21),
    ]


def test_ngram_baselines_of_another_split_are_not_drawn(lab):
    lab = finish(lab(grid=DEPTHS, base={"data": {"valid_fraction": 0.1}}), [2.1, 2.2, 2.3])
    lab.ngram_baselines(order_3=2.2)
    assert draw(lab).layout["shapes"] == []


def test_several_factors_share_the_axis_side_by_side_with_a_legend_entry_each(lab):
    lab = lab(grid=DEPTHS | {"model.memory.momentum": [True, False]}, seeds=1)
    figure = draw(finish(lab, [2.1, 2.2, 2.3, 2.4]))
    assert [trace["name"] for trace in figure.traces if trace["showlegend"]] == ["momentum on", "momentum off"]
    assert [bar["y"] for bar in means(figure)] == [[2.1], [2.2], [2.3], [2.4]]
    places = [bar["x"][0] for bar in means(figure)]
    assert places == sorted(places)
    assert len(set(places)) == 4
    trends = [trace for trace in figure.traces if trace["mode"] == "lines"]
    assert [trend["y"] for trend in trends] == [[2.1, 2.3], [2.2, 2.4]]


def test_categories_are_not_joined_by_a_line(lab):
    figure = draw(finish(lab(grid={"model.variant": ["mac", "mag"]}), [2.1, 2.2, 2.3, 2.4]))
    assert figure.layout["xaxis"]["ticktext"] == ["mac", "mag"]
    assert not [trace for trace in figure.traces if trace["mode"] == "lines"]


def test_a_study_without_a_grid_has_one_place(lab):
    figure = draw(finish(lab(), [2.1, 2.2, 2.3]))
    assert dots(figure) == [2.1, 2.2, 2.3]
    assert figure.title == "Final loss"


def test_without_a_final_score_there_is_no_figure(lab):
    lab = lab(grid=DEPTHS)
    assert draw(lab) is None
    lab.end(lab.runs[0], "diverged", diverged_step=3)
    assert draw(lab) is None
