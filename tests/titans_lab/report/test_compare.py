from __future__ import annotations

from itertools import pairwise

from titans_lab.report.compare import rows
from titans_lab.report.head import head
from titans_lab.report.render import page, runs_report


def compared(lab, *runs):
    return dict(rows(runs_report([run.run_id for run in runs], lab.root)))


def test_settings_that_differ_figures_and_curves(lab):
    lab = lab(grid={"model.memory.depth": [1, 2], "train.lr": [0.001, 0.002]}, seeds=2)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0 + index)
    found = compared(lab, lab.runs[0], lab.runs[6])
    assert found["seed"] == [0, 0]
    assert found["model.memory.depth"] == [1, 2]
    assert found["train.lr"] == [0.001, 0.002]
    assert found["final loss, bits per byte"] == [2.0, 8.0]
    curves = [values for name, values in found.items() if name.startswith("validation loss at")]
    assert len(curves) == 8
    assert [later[0] < earlier[0] for earlier, later in pairwise(curves)] == [True] * 7


def test_a_run_that_ended_early_has_no_later_losses(lab):
    lab = lab(seeds=2)
    lab.end(lab.runs[0], "done", 2.0)
    lab.create(lab.runs[1])
    found = compared(lab, *lab.runs)
    assert found["seed"] == [0, 1]
    assert found["state"] == ["done", "pending"]
    assert all(values[1] is None for name, values in found.items() if " at " in name)


def test_the_page_has_an_arm_for_each_configuration(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0 + index)
    told = runs_report([run.run_id for run in lab.runs[:3]], lab.root)
    assert [arm.label for arm in told.design.arms] == ["depth 1", "depth 2"]
    assert "Final loss by depth" in page(told)


def headline(lab, *runs):
    told = runs_report([run.run_id for run in runs], lab.root)
    return head(told.material, told.design, told.sections).verdict


def test_single_runs_are_compared_by_their_figures_and_several_seeds_by_a_test(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=3)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0 - 0.25 * (index > 2) + 0.001 * index**2)
    assert headline(lab, lab.runs[0], lab.runs[3]) == (
        "depth 2 has the lowest final loss, 1.759 bits per byte, 0.241 bits per byte ahead of depth 1. A verdict needs "
        "two seeds of each."
    )
    assert headline(lab, *lab.runs).startswith("depth 2 is better than the baseline (depth 1): ")


def test_a_loss_stands_at_the_tokens_where_it_was_measured(lab):
    lab = lab(seeds=2)
    for run in lab.runs:
        lab.start(run, 2.0, valid_every=45).commit("done", {"loss": 2.0, "tokens": 819_200})
    found = compared(lab, *lab.runs)
    losses = {step * 4096: 2.1 + 5 / (1 + step / 4) for step in (45, 90, 135, 180)}
    expected = {f"validation loss at {tokens:,} tokens": [loss, loss] for tokens, loss in losses.items()}
    assert {name: values for name, values in found.items() if " at " in name and "step" not in name} == expected
