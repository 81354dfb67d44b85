"""What a report is about, from a store alone and from the page's own record of it."""

from __future__ import annotations

import json

import pytest

from titans_lab.report.render import page, store_report
from titans_lab.report.subject import of_runs, of_store, of_study, remembered
from titans_lab.store.query import Snapshot
from titans_lab.store.store import Store


@pytest.fixture
def swept(lab):
    """Two depths, the deeper one the baseline, in a store that remembers the study."""
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2, baseline={"model.memory.depth": 2}, question="Deeper?")
    for run in lab.runs:
        lab.end(run, "done", 2.0 + 0.1 * run.seed)
    lab.evaluate(lab.runs[0], "asked", [{"task": "piqa", "metric": "acc", "value": 0.5, "count": 4}])
    runs = [{"run_id": run.run_id, "factors": run.factors, "baseline": run.baseline} for run in lab.runs]
    record = {"name": "depth", "question": "Deeper?", "expect": "", "runs": runs, "path": "", "overrides": []}
    Store(lab.root).save_study(record)
    return lab


def test_a_store_remembers_which_arm_is_the_baseline(swept):
    told = store_report(swept.root)
    assert told.material.study.base["model.memory.depth"] == 2
    assert told.design.base.factors == {"depth": 2}
    assert "Differences to depth 2" in page(told)


def test_a_subject_is_what_its_record_says(swept):
    snapshot = Snapshot(swept.root)
    subjects = [of_study(swept.study, swept.runs, snapshot), of_store(snapshot)]
    subjects += [of_runs([run.run_id for run in swept.runs[1:3]], snapshot)]
    for subject in subjects:
        again = remembered(json.loads(json.dumps(subject.record)))
        assert again == subject
        assert again.base == subject.base
    assert subjects[1].pinned.evaluations == ("asked",)
    assert subjects[2].pinned.evaluations == ()
