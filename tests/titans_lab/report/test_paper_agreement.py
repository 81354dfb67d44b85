from __future__ import annotations

import shutil

from titans_lab.report.arms import arrange
from titans_lab.report.data import gather
from titans_lab.report.paper_agreement import orders, section

LMM = {"model": {"variant": "lmm"}}


def found(lab, losses, **study):
    lab = lab(**study)
    for run, loss in zip(lab.runs, losses, strict=False):
        lab.end(run, "done", loss)
    material = gather(lab.study, lab.runs, lab.root)
    return orders(arrange(lab.study, material.outcomes), material.metric)


def test_a_study_of_depth_stands_beside_figure_7(lab):
    losses = [2.4, 2.41, 2.3, 2.31, 2.2, 2.21, 2.1, 2.11]
    told = found(lab, losses, grid={"model.memory.depth": [1, 2, 3, 4]}, seeds=2)
    assert [order.table.title[-4:] for order in told] == ["170M", "360M", "760M"]
    assert {order.column for order in told} == {"2K"}
    assert [order.found.arms for order in told] == [("1", "2", "3", "4")] * 3
    assert told[0].found.tau == 1  # 16.02 15.50 15.30 15.28
    assert told[1].found.tau < 0  # 13.19 13.21 13.21 13.26
    assert told[0].cells[2:] == ("4", "1.00", "1.00 to 1.00")
    assert "read off a plot" in told[0].cells[0]


def test_an_ablation_of_lmm_stands_beside_table_5_in_each_of_its_figures(lab):
    grid = {"model.memory.momentum": [True, False], "model.memory.forgetting": [True, False]}
    told = found(lab, [2.0, 2.3, 2.2, 2.9], base=LMM, grid=grid, seeds=1)
    assert [order.column for order in told] == ["perplexity", "reasoning", "long context"]
    assert told[0].found.arms == ("LMM", "no momentum", "no weight decay")  # without both is not in the paper
    assert [order.found.tau > 0 for order in told] == [True, True, True]
    assert told[0].cells[-1] == "–"


def test_the_accuracies_of_the_paper_are_the_other_way_round_than_a_loss(lab):
    grid = {"model.conv_size": [4, 1], "model.memory.momentum": [True, False]}
    (perplexity, reasoning, _) = found(lab, [2.0, 2.3, 2.2], base=LMM, grid=grid, seeds=1)
    assert (perplexity.found.tau, reasoning.found.tau) == (1.0, 1.0)


def test_other_studies_do_not(lab):
    assert found(lab, [2.0, 2.1, 2.2], grid={"train.lr": [1e-3, 2e-3, 3e-3]}, seeds=1) == []


def test_a_study_before_its_first_run_does_not(lab):
    assert found(lab, [], grid={"model.memory.depth": [1, 2, 3, 4]}) == []


def test_a_study_of_speeds_does_not_stand_beside_losses(lab):
    shown = []
    for metric in (None, {"name": "tokens_per_second", "direction": "maximize"}):
        told = lab(grid={"model.memory.depth": [1, 2, 3, 4]}, seeds=1, **({"metric": metric} if metric else {}))
        for run, loss in zip(told.runs, [2.4, 2.3, 2.2, 2.1], strict=True):
            told.end(run, "done", loss)
        material = gather(told.study, told.runs, told.root)
        shown.append(section(material, arrange(told.study, material.outcomes)) is not None)
        shutil.rmtree(told.root)
    assert shown == [True, False]
