"""What a report is about: from a study file, from a store alone, and from runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from titans_lab.report.check import check
from titans_lab.report.render import page, store_report, study_report
from titans_lab.report.subject import PageScope, of_runs, of_store, of_study, of_swept
from titans_lab.run.config import LogConfig
from titans_lab.store.query import Snapshot
from titans_lab.store.store import Store


@pytest.fixture
def swept(lab):
    """Two depths, the deeper one the baseline, in a store that remembers the study."""
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2, baseline={"model.memory.depth": 2}, question="Deeper?")
    for run in lab.runs:
        lab.end(run, "done", 2.0 + 0.1 * run.seed)
    lab.evaluate(lab.runs[0], "asked", [{"task": "piqa", "metric": "acc", "value": 0.5, "count": 4}])
    Store(lab.root).save_study(lab.study.record(lab.runs))
    return lab


def test_a_store_remembers_which_arm_is_the_baseline(swept):
    told = store_report(swept.root)
    assert told.material.study.base["model.memory.depth"] == 2
    assert told.design.base.factors == {"depth": 2}
    assert "Differences from the baseline (depth 2)" in page(told)


def test_a_selection_is_what_its_record_says(swept):
    snapshot = Snapshot(swept.root)
    subjects = [of_study(swept.study, swept.runs, snapshot), of_swept("depth", snapshot), of_store(snapshot)]
    subjects += [of_runs([run.run_id for run in swept.runs[1:3]], snapshot)]
    for subject in subjects:
        assert PageScope.read(json.loads(json.dumps(subject.selection.record))) == subject.selection
    study, recorded, _, compared = subjects
    assert replace(recorded, drawn=study.drawn) == study
    assert [run.factors for run in compared.runs] == [{"model.memory.depth": 1}, {"model.memory.depth": 2}]


def test_a_study_file_is_shown_as_it_was_run(swept):
    """What is logged is not in a run's identity, and may have changed in the file since."""
    changed = [replace(run, config=replace(run.config, log=LogConfig(every=77))) for run in swept.runs]
    assert of_study(swept.study, changed, Snapshot(swept.root)).base["log.every"] != 77


@pytest.mark.parametrize(
    ("metric", "best", "means"),
    [
        ({"name": "loss", "taken": "best"}, "Lowest mean loss: depth 2", "best loss"),
        (
            {"name": "tokens_per_second", "direction": "maximize"},
            "Highest mean tokens_per_second: depth 1",
            "final tokens_per_second",
        ),
    ],
)
def test_arms_are_compared_by_what_the_study_asks_for(lab, metric, best, means):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2, metric=metric)
    for run in lab.runs:  # the deeper is the better on the way, the slower, and at the end the same
        deep = run.config.model.memory.depth == 2
        recorder = lab.start(run, 1.0 if deep else 2.0)
        recorder.commit("done", {"loss": 3.0, "tokens_per_second": 100.0 if deep else 200.0 + run.seed})
    told = study_report(lab.study, lab.runs, lab.root)
    scores = {(o.run.config.model.memory.depth, o.run.seed): o.score for o in told.material.outcomes}
    if metric["name"] == "loss":
        assert scores[2, 0] == scores[2, 1] == pytest.approx(1.1 + 5 / 51)  # validated last at step 200
    else:
        assert scores == {(1, 0): 200.0, (1, 1): 201.0, (2, 0): 100.0, (2, 1): 100.0}
    html = page(told)
    assert best in html
    assert means in html
    Store(lab.root).save_study(lab.study.record(lab.runs))
    stored = of_store(Snapshot(lab.root))
    assert stored.metric == lab.study.metric
    path = lab.root / "page.html"
    path.write_text(html, encoding="utf-8")
    assert not check(path, lab.root).differences
