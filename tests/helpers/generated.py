"""Generated tasks on small settings, and their examples as rows of plain numbers."""

from __future__ import annotations

from typing import Any

import torch

from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig, build
from titans_lab.tasks.answers import AnswerTask, ExampleSet
from titans_lab.tasks.task import IGNORED, build_task

#: Small enough for a test, large enough for statistics.
SIZES = {"examples": 400, "test_examples": 300}
CPU = torch.device("cpu")

Row = tuple[list[int], list[int]]


def config_of(name: str, length: int, batch: int = 8, model: Any = None, **settings: Any) -> RunConfig:
    """Return a run of a task with a vocabulary that is large enough."""
    values = {"task.name": name, "train.seq_len": length, "train.batch_size": batch, "model.vocab_size": 8192}
    values |= {f"model.{key}": value for key, value in (model or {}).items()}
    return build(RunConfig, values | {f"task.{name}.{key}": value for key, value in (SIZES | settings).items()})


def task_of(name: str, length: int, seed: int = 0, **settings: Any) -> AnswerTask:
    """Return the task alone."""
    task = build_task(config_of(name, length, **settings), seed)
    assert isinstance(task, AnswerTask)
    return task


def rows(
    task: AnswerTask, training: bool = False, part: ExampleSet | None = None, split: Part | None = None
) -> list[Row]:
    """Tokens and targets of all examples of a set, drawn by the task; of the test where no split is named."""
    part = part or task.parts(training)[0]
    tokens, targets = task.draw_set(part, split or ("train" if training else "test"))
    assert tokens.shape == targets.shape == (part.count, part.length)
    return list(zip(tokens.tolist(), targets.tolist(), strict=True))


def asked(targets: list[int]) -> list[int]:
    """Places with an answer."""
    return [place for place, target in enumerate(targets) if target != IGNORED]
