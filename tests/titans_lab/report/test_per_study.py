"""The page over a whole store has a section for each study."""

from __future__ import annotations

from titans_lab.report.head import head
from titans_lab.report.render import page, store_report
from titans_lab.store.store import Store


def test_each_study_has_its_question_its_answer_and_its_own_metric(lab):
    one = lab(grid={"model.memory.depth": [1, 2]}, question="Deeper?")
    for index, run in enumerate(one.runs):
        one.end(run, "done", 2.0 + 0.01 * (index % 3) - 0.5 * (index > 2) + 0.001 * index**2)
    for name in ("one", "two"):
        runs = [
            {"run_id": run.run_id, "factors": run.factors, "baseline": run.factors["model.memory.depth"] == 1}
            for run in one.runs
        ]
        Store(one.root).save_study(
            {"name": name, "question": f"{name}?", "expect": "", "overrides": [], "path": "", "runs": runs}
        )
    told = store_report(one.root)
    assert [(section.title, section.question) for section in told.sections] == [("one", "one?"), ("two", "two?")]
    assert all("depth 2 is better than the baseline" in section.answer for section in told.sections)
    assert len({section.figure.name for section in told.sections if section.figure}) == 2
    html = page(told)
    assert "2 studies, each with its answer below." in html
    assert html.count("depth 2 is better than the baseline") == 4  # in the head and in each section
    top = head(told.material, told.design, told.sections)
    assert [each.partition(" is better")[0] for each in top.findings] == ["one: depth 2", "two: depth 2"]
