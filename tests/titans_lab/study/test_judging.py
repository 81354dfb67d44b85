from __future__ import annotations

import pytest

from titans_lab.study.config import TaskConfig
from titans_lab.study.judging import UNITS, judged
from titans_lab.study.search import MEASURED
from titans_lab.study.terms import Metric

TEXT, RECALL = TaskConfig().settings, TaskConfig(name="mqar").settings


@pytest.mark.parametrize(
    ("metric", "task", "column", "direction", "taken"),
    [
        (None, TEXT, "score", "minimize", "final"),
        (None, RECALL, "score", "maximize", "final"),
        (Metric("accuracy"), RECALL, "score", "maximize", "final"),  # the task knows which way is better
        (Metric("loss"), RECALL, "loss", "minimize", "final"),
        (Metric("loss", at="best"), TEXT, "valid_loss", "minimize", "best"),
        (Metric("loss", at="best"), RECALL, "valid_loss", "minimize", "best"),
        (Metric("accuracy", at="best"), RECALL, "valid_score", "maximize", "best"),
        (Metric("tokens_per_second", "maximize"), TEXT, "tokens_per_second", "maximize", "final"),
        (Metric("peak_memory_bytes"), TEXT, "peak_memory_bytes", "minimize", "final"),
    ],
)
def test_a_metric_is_a_column(metric, task, column, direction, taken):
    found = judged(metric, task)
    assert found is not None
    assert (found.column, found.measure.direction, found.measure.taken) == (column, direction, taken)


@pytest.mark.parametrize("metric", [Metric("accuracy"), Metric("tokens_per_second", at="best"), Metric("no_such")])
def test_what_no_run_records_is_none(metric):
    assert judged(metric, TEXT) is None


def test_every_figure_of_a_run_has_a_unit():
    assert set(UNITS) | {"loss", "score"} == set(MEASURED)
