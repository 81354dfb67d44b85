"""The tasks by name."""

from __future__ import annotations

from titans_lab.study.config import RunConfig
from titans_lab.tasks.mqar import MqarTask
from titans_lab.tasks.task import Task
from titans_lab.tasks.text import TextTask

TASKS: dict[str, type[Task]] = {
    "text": TextTask,
    "mqar": MqarTask,
}


def build_task(config: RunConfig, seed: int) -> Task:
    """The task of a run, with its data read; UserError where they do not serve."""
    return TASKS[config.task.name].build(config, seed)
