"""The tasks by name."""

from __future__ import annotations

from titans_lab.study.config import RunConfig
from titans_lab.tasks.babilong import BabilongTask
from titans_lab.tasks.genome import GenomeTask
from titans_lab.tasks.mad.compression import CompressionTask
from titans_lab.tasks.mad.fuzzy_in_context_recall import FuzzyInContextRecallTask
from titans_lab.tasks.mad.in_context_recall import InContextRecallTask
from titans_lab.tasks.mad.memorization import MemorizationTask
from titans_lab.tasks.mad.selective_copying import SelectiveCopyingTask
from titans_lab.tasks.mqar import MqarTask
from titans_lab.tasks.needle import NeedleTask
from titans_lab.tasks.series import SeriesTask
from titans_lab.tasks.task import Task
from titans_lab.tasks.text import TextTask

TASKS: dict[str, type[Task]] = {
    "text": TextTask,
    "mqar": MqarTask,
    "in_context_recall": InContextRecallTask,
    "noisy_in_context_recall": InContextRecallTask,
    "fuzzy_in_context_recall": FuzzyInContextRecallTask,
    "selective_copying": SelectiveCopyingTask,
    "memorization": MemorizationTask,
    "compression": CompressionTask,
    "series": SeriesTask,
    "genome": GenomeTask,
    "dna": TextTask,
    "needle": NeedleTask,
    "babilong": BabilongTask,
}


def build_task(config: RunConfig, seed: int) -> Task:
    """The task of a run, with its data read; UserError where they do not serve."""
    return TASKS[config.task.name].build(config, seed)
