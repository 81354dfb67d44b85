"""What a task is: the model that it trains, batches, the loss to lower, and the metrics that runs are compared by."""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from titans.models.backbone import Backbone
from titans.models.language_model import LanguageModel
from titans_lab.study.config import RunConfig
from titans_lab.study.metric import Metric
from titans_lab.tasks.settings import TaskSettings

#: Tensors whose first dimension counts examples.
Batch = tuple[Tensor, ...]

IGNORED = -100  # a target that is no answer


@dataclass(frozen=True)
class Score:
    """A row of the view `evals`: one figure, over one part of the test data.

    Attributes:
        metric: What the value is.
        value: The value of the metric.
        count: What it is the mean of: tokens, answers, examples.
        split: Of the data: "test" or "valid".
        setting: What the part is, such as "pairs=8"; null, with the three that follow: all of the test data.
        length: Tokens of its sequences, where these differ.
        depth: Place of what is to be found, from 0 (the start) to 1, where it differs.
        position: First place in the window of the stretch that this is the mean of, up to the next one's.
        baseline: Whose value this is, where it is not the run's model: "repeat-last", "ridge".
    """

    metric: Metric
    value: float
    count: int
    split: str = "test"
    setting: str | None = None
    length: int | None = None
    depth: float | None = None
    position: int | None = None
    baseline: str | None = None

    def row(self, task: str) -> dict[str, Any]:
        """Columns of the view `evals`."""
        figure = {"metric": self.metric.name, "unit": self.metric.unit, "direction": self.metric.direction}
        return {"task": task, **vars(self), **figure}


class Task(ABC):
    """One file a task. A subclass reads its data in `build`, which raises UserError where they do not serve.

    Attributes:
        settings: The task's section of the configuration.
        digest: SHA-256 of its data, as `TaskSettings.digest` gives it.
        source: Where they are from, for people.
    """

    def __init__(self, settings: TaskSettings, digest: str, source: str) -> None:
        self.settings, self.digest, self.source = settings, digest, source

    @classmethod
    @abstractmethod
    def build(cls, config: RunConfig, seed: int) -> Task:
        """The task of a run, with its data read."""

    def model(self, config: RunConfig, seed: int) -> Backbone:
        """What is trained; a task with another head gives another `Backbone`, its values drawn by `initialise`."""
        return LanguageModel(config.model, seed)

    @abstractmethod
    def sample(self, step: int) -> Batch:
        """The batch of a training step: a function of data, seed, step, length and batch size alone."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """The training loss `[batch]`, in the unit of `settings.LOSS`: of each example the sum over its terms."""

    @abstractmethod
    def terms(self, batch: Batch) -> int:
        """Terms of all examples: a step's loss is the sum of `losses` over this, however the batch is split."""

    @abstractmethod
    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """The figures of a model in evaluation mode, without gradients.

        Among them are `settings.LOSS` and `settings.METRIC` over all of the test data.

        Args:
            limit: Read about so many tokens at most, for a look on the way; null: all.
        """

    @abstractmethod
    def inputs(self, tokens: int) -> Tensor:
        """About so many tokens of the test data, as the model reads them `[batch, time]`: to look inside it."""


def task_class(settings: TaskSettings) -> type[Task]:
    """Import the half with torch of a task."""
    module, _, name = settings.TASK.partition(":")
    return getattr(importlib.import_module(module), name)


def build_task(config: RunConfig, seed: int) -> Task:
    """Return the task of a run, with its data read; UserError where they do not serve."""
    return task_class(config.task.settings).build(config, seed)


def overall(scores: Iterable[Score]) -> dict[str, float]:
    """The model's own figures over all of the test data, by name."""
    return {
        score.metric.name: score.value
        for score in scores
        if {score.setting, score.length, score.depth, score.position, score.baseline} == {None}
    }


def random_of(*facts: object) -> np.random.Generator:
    """Random numbers that follow from some facts alone, and are others for others, as those of training and test."""
    key = ":".join(map(str, facts))
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(key.encode()).hexdigest(), 16)))


def precise(outputs: Tensor) -> Tensor:
    """For a loss: at least float32, whatever a model computes in."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, and then training mode again."""
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train()
