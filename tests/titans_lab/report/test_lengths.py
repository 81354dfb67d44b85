from __future__ import annotations

import pytest
from scipy import stats

from titans_lab.report import study_report
from titans_lab.report.head import head
from titans_lab.report.lengths import sections
from titans_lab.stats.proportion import wilson

VARIANTS = {"model.variant": ["lmm", "mac"]}
NEEDLE = {"task": {"name": "needle"}, "train": {"seq_len": 512}}


def answer(value: float, length: int, count: int = 50, task: str = "needle", setting: str = "passkey, brief"):
    common = {"metric": "accuracy", "unit": "share of answers", "direction": "maximize", "split": "test"}
    return common | {"task": task, "setting": setting, "length": length, "value": value, "count": count}


@pytest.fixture
def asked(lab):
    """Two seeds of lmm, one of mac."""
    lab = lab(base=NEEDLE, grid=VARIANTS, seeds=2)
    for run, shares in zip(lab.runs[:3], ((1.0, 0.5), (0.9, 0.3), (0.8, 0.2)), strict=True):
        lab.end(run, "done", 1.0, score=0.9)
        for share, length in zip(shares, (1024, 2048), strict=True):
            lab.evaluate(run, f"{run.run_id}-{length}", [answer(share, length)])
    return lab


def test_an_arm_is_the_mean_of_its_seeds_by_length(asked):
    (found,) = sections(*asked.built)
    first, second = found.figure.traces
    assert found.name == "lengths-needle-passkey-brief"
    assert first["y"] == pytest.approx([0.95, 0.4])
    assert second["y"] == pytest.approx([0.8, 0.2])
    assert first["x"] == pytest.approx([1024, 2048], rel=0.03)
    assert found.figure.layout["shapes"][0]["x0"] == 512


def test_a_study_of_long_inputs_is_answered_by_the_longest(asked, lab):
    (found,) = sections(*asked.built)
    half = stats.t.ppf(0.975, 1) * stats.sem([0.5, 0.3])
    low, high = wilson(10, 50)
    assert found.answer == (
        f"Accuracy at 2K tokens: variant lmm 0.400 (95 % CI {max(0.0, 0.4 - half):.3f} to {min(1.0, 0.4 + half):.3f}, "
        f"2 seeds) and variant mac 0.200 (95 % CI {low:.3f} to {high:.3f}, 1 seed)."
    )
    told = study_report(asked.study, asked.runs, asked.root)
    assert head(told.material, told.design, told.sections).verdict == found.answer


def test_long_inputs_do_not_answer_a_study_of_another_task(lab):
    lab = lab(grid=VARIANTS, seeds=1)
    for run in lab.runs:
        lab.end(run, "done", 1.0)
        for length in (1024, 2048):
            lab.evaluate(run, f"{run.run_id}-{length}", [answer(0.5, length)])
    (found,) = sections(*lab.built)
    assert found.answer == ""


def test_bars_are_over_the_seeds_or_over_the_questions_of_one(asked):
    (found,) = sections(*asked.built)
    first, second = found.figure.traces
    half = stats.t.ppf(0.975, 1) * stats.sem([0.5, 0.3])
    assert first["error_y"]["array"][1] == pytest.approx(min(half, 0.6))
    low, high = wilson(10, 50)
    assert second["error_y"]["array"][1] == pytest.approx(high - 0.2, rel=1e-3)
    assert second["error_y"]["arrayminus"][1] == pytest.approx(0.2 - low, rel=1e-3)
    assert "100 questions of 2 seeds" in first["text"][0]
    assert "50 questions" in second["text"][0]


@pytest.mark.parametrize("setting", ["passkey, brief", None])
def test_the_evaluation_with_most_questions_of_a_case_counts(lab, setting):
    """25 questions are the first of 100 of the same seed: together they would be counted twice."""
    lab = lab(base=NEEDLE, seeds=1)
    own = [answer(0.1, 1024, count=50, setting=setting)]
    lab.end(lab.runs[0], "done", 1.0, score=0.9, evals=own)
    lab.evaluate(lab.runs[0], "few", [answer(1.0, 1024, count=25, setting=setting)], finished="2026-02-02T00:00:00Z")
    lab.evaluate(lab.runs[0], "many", [answer(0.4, 1024, count=100, setting=setting)], finished="2026-01-01T00:00:00Z")
    lab.evaluate(lab.runs[0], "long", [answer(0.2, 2048, count=25, setting=setting)])
    (found,) = sections(*lab.built)
    assert found.figure.traces[0]["y"] == [0.4, 0.2]
    assert "100 questions" in found.figure.traces[0]["text"][0]


@pytest.mark.parametrize("later", ["a", "b"])
def test_the_later_of_two_equally_large_evaluations_counts(lab, later):
    lab = lab(base=NEEDLE, seeds=1)
    lab.end(lab.runs[0], "done", 1.0, score=0.9, evals=[answer(0.1, 1024)])
    for name in "ab":
        when = f"2026-01-0{1 + (name == later)}T00:00:00Z"
        rows = [answer(0.9 if name == later else 0.5, length) for length in (1024, 2048)]
        lab.evaluate(lab.runs[0], name, rows, finished=when)
    (found,) = sections(*lab.built)
    assert found.figure.traces[0]["y"] == [0.9, 0.9]


def test_later_statements_do_not_change_an_earlier_one(asked):
    material, design = asked.built
    list(sections(material, design))
    statement = material.evidence.statements["lengths"].sql
    before = material.evidence.statements["lengths"].rows
    asked.evaluate(asked.runs[2], "more", [answer(0.0, 2048, count=150)], finished="2126-01-01T00:00:00+00:00")
    later, _ = asked.built
    assert later.evidence.ask("again", statement) == before


def test_cases_of_one_length_each_stand_side_by_side(lab):
    lab = lab(base={"task": {"name": "mqar"}, "model": {"vocab_size": 8192}}, seeds=1)
    evals = [answer(0.9, 64, task="mqar", setting="pairs=4"), answer(0.4, 256, task="mqar", setting="pairs=32")]
    lab.end(lab.runs[0], "done", 1.0, score=0.6, evals=evals)
    (found,) = sections(*lab.built)
    assert found.name == "cases-mqar"
    assert found.figure.traces[0]["y"] == [0.9, 0.4]
    assert found.figure.layout["xaxis"]["ticktext"] == ["pairs=4, 64", "pairs=32, 256"]


def test_where_nothing_was_asked_there_is_nothing(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert list(sections(*lab.built)) == []
