from __future__ import annotations

import pytest
from scipy import stats

from titans_lab.report.arms import PALETTE
from titans_lab.report.speed import throughput
from titans_lab.report.tradeoffs import MEMORY, SPEED, against
from titans_lab.tasks.text import BITS_PER_BYTE

LOSSES = ((2.0, 2.1), (2.2, 2.3), (2.5, 2.4))
SPEEDS = ((1000.0, 1100.0), (5000.0, 5200.0), (4000.0, 4100.0))


@pytest.fixture
def design(lab):
    """Three depths: the first has the lowest loss, the second the highest speed, the third neither."""
    lab = lab(grid={"model.memory.depth": [1, 2, 3]}, seeds=2)
    for index, run in enumerate(lab.runs):
        arm, seed = divmod(index, 2)
        more = {"tokens_per_second": SPEEDS[arm][seed], "peak_memory_bytes": (arm + 1 + seed) * 2**20}
        lab.end(run, "done", LOSSES[arm][seed], **more)
    return lab.built[1]


def split(figure):
    """Its front, dots and means."""
    line, *others = figure.traces
    return line, others[:3], others[3:]


def test_every_seed_is_a_dot_and_every_mean_has_intervals_both_ways(design):
    _, dots, means = split(against(SPEED, design, BITS_PER_BYTE))
    assert [(dot["x"], tuple(dot["y"])) for dot in dots] == list(zip(map(list, SPEEDS), LOSSES, strict=True))
    half = stats.t.ppf(0.975, 1) * stats.sem(SPEEDS[0])
    assert (means[0]["x"], means[0]["y"]) == ([1050.0], [2.05])
    assert means[0]["error_x"]["array"] == [pytest.approx(half, rel=1e-4)]
    assert means[0]["error_y"]["array"] == [pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(LOSSES[0]), rel=1e-4)]


def test_the_front_has_the_arms_that_no_other_beats(design):
    figure = against(SPEED, design, BITS_PER_BYTE)
    line, _, means = split(figure)
    assert (line["x"], line["y"]) == ([1050.0, 5100.0], [2.05, 2.25])
    assert [mean["marker"]["line"]["width"] for mean in means] == [2, 2, 0]
    assert figure.caption.endswith("On the front: depth 1 and depth 2.")


def test_less_memory_is_better(design):
    line, _, means = split(against(MEMORY, design, BITS_PER_BYTE))
    assert (line["x"], line["y"]) == ([1.5], [2.05])
    assert [mean["marker"]["line"]["width"] for mean in means] == [2, 0, 0]


def test_an_arm_with_diverged_seeds_stays_and_is_marked(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=3)
    for index, run in enumerate(lab.runs[:5]):
        lab.end(run, "done", 9.0 - index)
    lab.end(lab.runs[5], "diverged", diverged_step=9)
    figure = against(MEMORY, lab.built[1], BITS_PER_BYTE)
    _, *_, first, second = figure.traces
    assert (first["name"], second["name"]) == ("depth 1", "depth 2 †")
    assert second["text"][0].endswith(", on the front, 1 seed diverged")
    assert "diverged" not in first["text"][0]
    assert "On the front: depth 2 †. † Conditional on convergence" in figure.caption
    assert figure.caption.endswith("leave out diverged seeds (depth 2: 1 of 3).")


def test_an_arm_has_one_colour_in_all_figures(design):
    rows, (_, dots, means) = throughput(design).traces[::2], split(against(SPEED, design, BITS_PER_BYTE))
    for traces in (rows, dots, means):
        assert [trace["marker"]["color"] for trace in traces] == [light for light, _ in PALETTE[:3]]


def test_without_the_figures_nothing_is_drawn(lab):
    lab = lab()
    lab.end(lab.runs[0], "done", 2.0, tokens_per_second=None)
    assert against(SPEED, lab.built[1], BITS_PER_BYTE) is None
    assert against(MEMORY, lab.built[1], BITS_PER_BYTE).name == "score-peak-memory"
