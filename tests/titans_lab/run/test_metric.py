from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.run.config import TaskConfig
from titans_lab.run.derived import DERIVED
from titans_lab.run.metric import COSTS, MEASURED, RECORDED, find
from titans_lab.study.study import load_study

TEXT, RECALL = TaskConfig().settings.metrics(), TaskConfig(name="mqar").settings.metrics()


@pytest.mark.parametrize(
    ("asked", "task", "column", "direction", "taken"),
    [
        ({"name": "accuracy"}, RECALL, "score", "maximize", "final"),  # the task knows which values are better
        ({"name": "score"}, RECALL, "score", "maximize", "final"),
        ({"name": "loss"}, RECALL, "loss", "minimize", "final"),
        ({"name": "loss", "taken": "best"}, TEXT, "valid_loss", "minimize", "best"),
        ({"name": "loss", "taken": "best"}, RECALL, "valid_loss", "minimize", "best"),
        ({"name": "accuracy", "taken": "best"}, RECALL, "valid_score", "maximize", "best"),
        ({"name": "accuracy", "direction": "maximize"}, RECALL, "score", "maximize", "final"),
        ({"name": "tokens_per_second"}, TEXT, "tokens_per_second", "maximize", "final"),
        ({"name": "peak_memory_bytes", "direction": "maximize"}, TEXT, "peak_memory_bytes", "maximize", "final"),
    ],
)
def test_a_metric_is_a_column(asked, task, column, direction, taken):
    found = find(task | RECORDED, **asked)
    assert (found.column, found.direction, found.taken) == (column, direction, taken)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("word_perplexity", "runs record no word_perplexity; valid here: score, loss, train_loss"),
        ("losss", "runs record no losss; did you mean loss?"),
        ("{name: wall_seconds, taken: best}", "wall_seconds is known at the end of a run alone; write taken: final"),
        (
            "{name: loss, direction: maximize}",
            "lower values of loss are better; write minimize, or remove the direction",
        ),
    ],
)
def test_a_metric_that_runs_do_not_have_is_refused(tmp_path: Path, metric: str, message: str):
    path = tmp_path / "x.yaml"
    path.write_text(f"question: q\nmetric: {metric}\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert f"{path}:2: metric: {message}" in str(caught.value)


def test_each_task_of_a_study_has_to_know_the_metric(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("metric: accuracy\nbase: {model: {vocab_size: 8192}}\ngrid: {task.name: [mqar, text]}\n")
    with pytest.raises(UserError, match=":1: metric: runs record no accuracy"):
        load_study(path)
    path.write_text("metric: loss\nbase: {model: {vocab_size: 8192}}\ngrid: {task.name: [mqar, text]}\n")
    assert load_study(path).metric == RECALL["loss"]  # as the first task has it


def test_every_figure_has_a_metric():
    assert set(COSTS) == set(DERIVED)
    assert set(MEASURED) == {"loss", "score", *RECORDED}
