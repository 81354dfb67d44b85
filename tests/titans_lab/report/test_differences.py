from __future__ import annotations

import pytest
from scipy import stats

from titans_lab.report.arms import arrange
from titans_lab.report.data import gather
from titans_lab.report.differences import compare_arms, table
from titans_lab.report.forest import forest
from titans_lab.report.verdicts import all_verdicts, comparison_answer

DEPTHS = {"model.memory.depth": [1, 2, 3]}
BASE, LESS, MORE = [2.1, 2.2, 2.35], [1.5, 1.72, 1.68], [2.1, 2.3, 2.2]


def finish(lab, losses, **study):
    lab = lab(**({"grid": DEPTHS} | study))
    for run, loss in zip(lab.runs, losses, strict=False):
        lab.end(run, "done", loss)
    return lab


def looked_at(lab):
    material = gather(lab.study, lab.runs, lab.root)
    return material, arrange(lab.study, material.outcomes)


def compared(lab):
    material, design = looked_at(lab)
    return compare_arms(design, material.metric)


def cells(lab):
    """Of every row, by column."""
    material, design = looked_at(lab)
    found = table(compare_arms(design, material.metric), design, material.metric)
    return [dict(zip(found.columns, row.cells, strict=True)) for row in found.rows]


def test_every_arm_stands_beside_the_first(lab):
    less, more = cells(finish(lab, BASE + LESS + MORE))
    p = [stats.ttest_rel(arm, BASE).pvalue for arm in (LESS, MORE)]
    assert less["pairs"] == "3"
    assert less["difference"] == "-0.5833"
    assert less["p, Holm"] == f"{2 * p[0]:.3f}"
    assert (less["verdict"], more["verdict"]) == ("better", "inconclusive")
    assert more["p, Holm"] == f"{p[1]:.3f}"
    assert less["p, sign flips"] == "0.250"
    low, high = stats.ttest_rel(LESS, BASE).confidence_interval(0.95)
    assert less["95\N{NO-BREAK SPACE}% interval"] == f"[{low:+.4f}, {high:+.4f}]"


def test_the_cost_of_an_arm_is_in_the_row_of_its_difference(lab):
    lab = lab(grid=DEPTHS)
    for run in lab.runs:
        costs = {"parameters": 1000 * run.config.model.memory.depth, "flops_per_token": 600}
        lab.start(run, 2.0, costs=costs).commit("done", {"loss": 2.0 + run.seed})
    second, third = cells(lab)
    assert (second["parameters, × baseline"], third["parameters, × baseline"]) == ("2.00", "3.00")
    assert second["FLOPs/token, × baseline"] == "equal"


def test_arms_of_other_tasks_are_not_set_beside_the_base(lab):
    grid = {"model.variant": ["lmm", "mac"], "task.name": ["memorization", "compression"]}
    lab = lab(base={"model": {"vocab_size": 1024}}, grid=grid)
    for run in lab.runs:
        lab.end(run, "done", 2.0, score=0.5 + run.seed / 10)
    found = compared(lab)
    assert [pair.arm.factors["variant"] for pair in found.pairs] == ["mac"]
    assert found.not_compared == 2


def test_the_baseline_of_the_study_is_what_the_others_stand_beside(lab):
    found = compared(finish(lab, BASE + LESS + MORE, baseline={"model.memory.depth": 2}))
    assert found.base == "baseline (depth 2)"
    assert [pair.found.verdict for pair in found.pairs] == ["worse", "worse"]


def test_each_arm_is_compared_with_the_baseline_at_the_same_levels_of_the_other_factors(lab):
    study = {"grid": {"model.memory.depth": [1, 2], "train.batch_size": [4, 8]}, "baseline": {"model.memory.depth": 1}}
    lab = finish(lab, BASE + MORE + LESS + BASE, **study)  # depth 1 with batches of 4 and 8, then depth 2
    found = compared(lab)
    assert [(pair.arm.label, pair.base.label) for pair in found.pairs] == [
        ("depth 2 · batch size 4", "depth 1 · batch size 4"),
        ("depth 2 · batch size 8", "depth 1 · batch size 8"),
    ]
    p = [stats.ttest_rel(*arms).pvalue for arms in ((LESS, BASE), (BASE, MORE))]
    assert [pair.found.adjusted for pair in found.pairs] == pytest.approx([2 * p[0], p[1]])  # one family of two
    assert found.base == "baseline (depth 1)"
    assert found.not_compared == 0
    assert all_verdicts(found).startswith(
        "Compared with the baseline (depth 1) at the same batch size, better: depth 2"
    )


def test_the_answer_is_the_best_arm_with_its_difference_and_interval(lab):
    lab = finish(lab, BASE + LESS + MORE)
    low, high = stats.ttest_rel(LESS, BASE).confidence_interval(0.95)
    p = 2 * stats.ttest_rel(LESS, BASE).pvalue
    assert comparison_answer(compared(lab), looked_at(lab)[0].metric) == (
        "The best arm, depth 2, is better than the baseline (depth 1): -0.583 bits per byte (95 % CI "
        f"{low:+.3g} to {high:+.3g}, p {p:.3f}, 3 seeds). Of 2 arms compared, 1 is better and 1 is inconclusive."
    )


def test_an_inconclusive_answer_names_the_difference_that_could_have_been_found(lab):
    lab = finish(lab, BASE + MORE, grid={"model.memory.depth": [1, 2]})
    found = compared(lab)
    said = comparison_answer(found, looked_at(lab)[0].metric)
    assert said.startswith("depth 2 does not differ significantly from the baseline (depth 1): -0.0167 bits per byte")
    assert said.endswith(
        f"At 3 seeds a difference of {found.detectable:.3g} bits per byte would be found with 80 % power."
    )


def test_diverged_seeds_are_counted_and_their_interval_is_marked(lab):
    lab = finish(lab, BASE + LESS[:2])
    for run in lab.runs[5:]:
        lab.end(run, "diverged", diverged_step=9)
    less, gone = cells(lab)
    assert (less["pairs"], less["diverged"], less["verdict"]) == ("2", "1", "inconclusive")
    assert less["95\N{NO-BREAK SPACE}% interval"].endswith(" †")
    assert (gone["pairs"], gone["diverged"], gone["difference"], gone["p, Holm"]) == ("0", "3", "–", "–")


def test_other_batches_are_not_paired(lab):
    lab = finish(lab, BASE + LESS, grid={"train.batch_size": [4, 8]})
    assert cells(lab)[0]["pairs"] == "3 (unpaired)"
    figure = forest(*looked_at(lab))
    assert figure is not None
    assert "their test is Welch's" in figure.caption
    assert figure.traces[0]["x"] == pytest.approx([value - sum(BASE) / 3 for value in LESS])


def test_the_forest_has_a_dot_for_every_pair_and_a_line_for_every_interval(lab):
    lab = finish(lab, BASE + LESS + MORE[:2])
    lab.end(lab.runs[8], "diverged", diverged_step=9)
    figure = forest(*looked_at(lab))
    assert figure is not None
    dots, means = figure.traces[:2], figure.traces[2:]
    assert dots[0]["x"] == pytest.approx([b - a for a, b in zip(BASE, LESS, strict=True)])
    assert [len(trace["x"]) for trace in dots] == [3, 2]
    assert means[0]["x"] == [pytest.approx(-0.58333, abs=1e-4)]
    assert means[0]["error_x"]["array"][0] == pytest.approx(compared(lab).pairs[0].found.half_width)
    labels = [each["text"] for each in figure.layout["annotations"]]
    assert labels == ["depth 2: <i>better</i>", "depth 3: <i>inconclusive, 1 diverged</i>"]
    assert "Conditional on convergence" in figure.caption
    assert "with 80 % power" in figure.caption


def test_there_is_no_forest_of_one_arm_or_of_nothing(lab):
    assert forest(*looked_at(finish(lab, BASE, grid={"model.memory.depth": [1]}))) is None


def test_a_base_without_a_score_compares_nothing(lab):
    lab = finish(lab, [])
    lab.end(lab.runs[3], "done", 2.0)
    assert compared(lab) is None
    assert forest(*looked_at(lab)) is None


def test_one_seed_has_a_difference_and_no_more(lab):
    (less, _) = cells(finish(lab, [2.0, 1.5, 2.5], seeds=1))
    assert (less["difference"], less["95\N{NO-BREAK SPACE}% interval"], less["p, Holm"]) == ("-0.5000", "–", "–")
    assert less["verdict"] == "inconclusive"
