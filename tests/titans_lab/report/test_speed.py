from __future__ import annotations

import pytest

from titans_lab.report.arms import arrange
from titans_lab.report.data import gather
from titans_lab.report.speed import throughput, throughput_by


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


def test_speed_stands_against_the_length_with_the_spread_of_the_seeds(lab):
    lab = lab(grid={"model.variant": ["lmm", "transformer"], "train.seq_len": [128, 256]}, seeds=2)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0, tokens_per_second=1000.0 * (index + 1))
    _, design = lab.built
    path, seeds, mean, *_ = throughput_by("train.seq_len", design).traces
    assert (path["x"], path["y"]) == ([128, 256], [1500.0, 3500.0])
    assert (seeds["x"], seeds["y"]) == ([128, 128], [1000.0, 2000.0])
    assert (mean["error_y"]["array"], mean["error_y"]["arrayminus"]) == ([500.0], [500.0])
    assert throughput_by("model.memory.chunk_size", design) is None


def test_one_length_is_no_line(lab):
    lab = lab(grid={"train.seq_len": [128, 256]}, seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert throughput_by("train.seq_len", lab.built[1]) is None


def test_without_speeds_there_is_no_figure(lab):
    lab = lab()
    lab.end(lab.runs[0], "done", 2.0, tokens_per_second=None)
    design = arrange(lab.study, gather(lab.study, lab.runs, lab.root).outcomes)
    assert throughput(design) is None
