from __future__ import annotations

import pytest
from scipy import stats

from titans_lab.report import study_report
from titans_lab.report.crossed import crossing
from titans_lab.report.effects import factorial, section
from titans_lab.report.head import head

GRID = {"model.memory.momentum": [True, False], "model.memory.chunk_size": [8, 16]}
ON_8, ON_16, OFF_8, OFF_16 = [2.0, 2.1, 2.2], [2.3, 2.5, 2.4], [2.6, 2.5, 2.7], [2.8, 3.0, 2.9]


def finish(lab, losses, **study):
    lab = lab(**(study if "ablate" in study else {"grid": GRID} | study))
    for run, loss in zip(lab.runs, losses, strict=False):
        lab.end(run, "diverged" if loss is None else "done", loss, **({"diverged_step": 9} if loss is None else {}))
    return lab


def rows(lab):
    """The cells of the table of effects by effect and comparison."""
    found = section(*lab.built)
    return {row.heads: dict(zip(found.table.columns, row.cells, strict=True)) for row in found.table.rows}


def top(lab):
    told = study_report(lab.study, lab.runs, lab.root)
    return head(told.material, told.design, told.sections)


def test_a_grid_of_two_factors_has_their_effects_and_their_interaction(lab):
    found = rows(finish(lab, ON_8 + ON_16 + OFF_8 + OFF_16))
    tests = {
        ("momentum", "off vs on"): [0.55, 0.45, 0.5],
        ("chunk size", "16 vs 8"): [0.25, 0.45, 0.2],
        ("momentum × chunk size", "off vs on, 16 vs 8"): [-0.1, 0.1, 0.0],
    }
    assert list(found) == list(tests)
    for heads, by_seed in tests.items():
        test = stats.ttest_1samp(by_seed, 0)
        low, high = test.confidence_interval(0.95)
        assert found[heads]["p"] == f"{test.pvalue:.3f}"
        assert found[heads]["95\N{NO-BREAK SPACE}% interval"] == f"[{low:+.4f}, {high:+.4f}]"
        assert (found[heads]["seeds"], found[heads]["cells"]) == ("3", "4 of 4")
    assert found["momentum", "off vs on"]["estimate"] == "+0.5000"
    assert [each["verdict"] for each in found.values()] == ["significant", "inconclusive", "inconclusive"]


def test_the_answer_is_the_effects_and_the_terminal_has_a_line_for_each(lab):
    said = top(finish(lab, ON_8 + ON_16 + OFF_8 + OFF_16))
    low, high = stats.ttest_1samp([0.55, 0.45, 0.5], 0).confidence_interval(0.95)
    assert said.verdict.startswith(
        f"Momentum off is worse than on: +0.5 bits per byte (95 % CI {low:+.3g} to {high:+.3g}, p "
    )
    assert " Inconclusive: chunk size and momentum × chunk size (" in said.verdict
    interaction = next(line for line in said.findings if line.startswith("momentum × chunk size"))
    p = stats.ttest_1samp([-0.1, 0.1, 0.0], 0).pvalue
    assert interaction.startswith("momentum × chunk size, interaction (off vs on, 16 vs 8): ")
    assert f"p {p:.3f}, {p:.3f} after Holm, 3 seeds): inconclusive. At 3 seeds a difference of " in interaction


def test_without_a_significant_effect_the_answer_names_what_could_have_been_found(lab):
    lab = finish(lab, [*ON_8, 2.1, 2.0, 2.25, 2.05, 2.15, 2.1, *ON_8])
    known = [effect.detectable for effect in factorial(*lab.built).effects]
    assert top(lab).verdict == (
        "No effect is significant: momentum, chunk size and momentum × chunk size "
        f"({known[0]:.3g}, {known[1]:.3g} and {known[2]:.3g} bits per byte would be found with 80 % power)."
    )


def test_two_factors_have_a_heat_map_of_the_mean_scores(lab):
    figure = section(*finish(lab, ON_8 + ON_16 + OFF_8 + OFF_16).built).figure
    (trace,) = figure.traces
    assert (trace["y"], trace["x"]) == (["on", "off"], ["8", "16"])
    assert trace["z"] == [pytest.approx([2.1, 2.4]), pytest.approx([2.6, 2.9])]
    assert trace["text"] == [["2.100", "2.400"], ["2.600", "2.900"]]
    assert trace["customdata"][1][0] == "momentum off · chunk size 8: 2.600 bits per byte (3 seeds)"


def test_the_level_of_the_baseline_is_the_one_that_others_are_compared_with(lab):
    lab = finish(lab, ON_8 + ON_16 + OFF_8 + OFF_16, baseline={"model.memory.momentum": False})
    assert list(rows(lab))[:2] == [("momentum", "on vs off"), ("chunk size", "16 vs 8")]


def test_more_levels_are_tested_together_and_have_a_trend(lab):
    grid = {"model.variant": ["lmm", "mac"], "model.memory.chunk_size": [8, 16, 32]}
    losses = [2 + i + 0.3 * j + 0.01 * noise for i in range(2) for j in range(3) for noise in (i, j * i, 2 - j)]
    lab = finish(lab, losses, grid=grid)
    found = rows(lab)
    assert [heads[1] for heads in found if heads[0] == "chunk size"] == [
        "all levels",
        "16 vs 8",
        "32 vs 8",
        "per doubling of chunk size",
    ]
    assert found["chunk size", "all levels"]["estimate"] == "–"
    slope = found["chunk size", "per doubling of chunk size"]
    assert float(slope["estimate"]) == pytest.approx(0.3, abs=0.02)
    assert slope["verdict"] == "significant"
    line = next(line for line in top(lab).findings if line.startswith("chunk size: "))
    assert " bits per byte per doubling of chunk size (95 % CI " in line
    assert "; 2 comparisons together p " in line


def test_a_combination_that_diverged_is_left_out_and_said(lab):
    lab = finish(lab, [*ON_8, *ON_16, *OFF_8, 2.8, None, 2.9])
    found = rows(lab)
    assert {each["seeds"] for each in found.values()} == {"2"}
    assert {each["verdict"] for each in found.values()} == {"inconclusive"}
    assert "Conditional on convergence" in section(*lab.built).caption
    assert "1 run diverged" in top(lab).findings[1]


def test_factors_that_go_together_are_one(lab):
    study = {"grid": {"model.memory.momentum": [True, False]}, "zip": {"model.dim": [64, 128], "model.n_heads": [2, 4]}}
    lab = finish(lab, ON_8 + ON_16 + OFF_8 + OFF_16, **study)
    assert {heads[0] for heads in rows(lab)} == {"momentum", "dim and heads", "momentum × dim and heads"}


@pytest.mark.parametrize(
    "study",
    [
        {"grid": {"model.memory.depth": [1, 2]}},
        {"ablate": {"model.memory.momentum": False, "model.memory.depth": 1}},
        {"grid": {"model.n_layers": [1, 2], "train.tokens": [100_000, 200_000]}},
    ],
    ids=["one factor", "one factor at a time", "sizes alone"],
)
def test_other_studies_have_no_effects(lab, study):
    lab = finish(lab, [2.0, 2.1, 2.2] * 4, **study)
    assert crossing(lab.built[1]) is None
    assert section(*lab.built) is None
