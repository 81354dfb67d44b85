from __future__ import annotations

import pytest

from titans_lab.report.arms import PALETTE, arrange
from titans_lab.report.data import gather
from titans_lab.report.speed import score_against_throughput, throughput
from titans_lab.study.tasks.text import BITS_PER_BYTE


@pytest.fixture
def design(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]})
    for run, speed in zip(lab.runs, (9000.0, 9100.0, 9500.0, 4000.0), strict=False):
        lab.end(run, "done", speed / 4000, tokens_per_second=speed)
    lab.end(lab.runs[4], "failed")
    return arrange(lab.study, gather(lab.study, lab.runs, lab.root).outcomes)


def test_every_done_seed_is_a_dot_in_its_arms_row(design):
    first, first_mean, second, second_mean = throughput(design).traces
    assert (first["x"], first["y"]) == ([9000.0, 9100.0, 9500.0], [2, 2, 2])
    assert (second["x"], second["y"]) == ([4000.0], [1])
    assert (first_mean["x"], second_mean["x"]) == ([9200.0], [4000.0])
    assert [name["text"] for name in throughput(design).layout["annotations"]] == ["depth 1", "depth 2"]


def test_loss_stands_against_speed_seed_by_seed(design):
    first, second = score_against_throughput(design, BITS_PER_BYTE).traces
    assert list(zip(first["x"], first["y"], strict=True)) == [(9000.0, 2.25), (9100.0, 2.275), (9500.0, 2.375)]
    assert (second["x"], second["y"]) == ([4000.0], [1.0])


def test_an_arm_has_one_colour_in_all_figures(design):
    rows, clouds = throughput(design).traces[::2], score_against_throughput(design, BITS_PER_BYTE).traces
    assert [row["marker"]["color"] for row in rows] == [cloud["marker"]["color"] for cloud in clouds]
    assert rows[1]["marker"]["color"] == PALETTE[1][0]


def test_without_speeds_there_is_no_figure(lab):
    lab = lab()
    lab.end(lab.runs[0], "done", 2.0, tokens_per_second=None)
    design = arrange(lab.study, gather(lab.study, lab.runs, lab.root).outcomes)
    assert throughput(design) is None
    assert score_against_throughput(design, BITS_PER_BYTE) is None
