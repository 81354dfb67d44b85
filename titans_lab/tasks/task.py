"""The base of tasks: the model to train, the batches, the training loss, and the metrics that compare runs."""

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
from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig
from titans_lab.run.metric import Metric
from titans_lab.tasks.settings import TaskSettings

#: Tensors whose first dimension counts examples.
Batch = tuple[Tensor, ...]

IGNORED = -100  # a target that is no answer


@dataclass(frozen=True)
class Score:
    """A row of the view `evals`: the value of a metric over some of the validation or test part.

    Attributes:
        metric: The metric.
        value: The value of the metric.
        count: The number of tokens, answers or examples that the value is the mean over.
        split: The part of the data: "test" or "valid".
        setting: The name of the examples, such as "pairs=8". None, as the next three: the whole part.
        length: The tokens in a sequence, where lengths are compared.
        depth: The depth of the needle, from 0 (the start) to 1, where depths are compared.
        position: The first position of the segment that the value is the mean over. It ends at the next one's.
        baseline: The baseline that has this value, such as "repeat-last". None: the run's model.
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
        """Return the score as columns of the view `evals`."""
        figure = {"metric": self.metric.name, "unit": self.metric.unit, "direction": self.metric.direction}
        return {"task": task, **vars(self), **figure}


class Task(ABC):
    """The base of tasks. A subclass reads its data in `build`, which raises UserError where they do not fit.

    Attributes:
        settings: The task's section of the configuration.
        digest: The SHA-256 of its data, as `TaskSettings.digest` gives it.
        source: The origin of the data.
    """

    def __init__(self, settings: TaskSettings, digest: str, source: str) -> None:
        self.settings, self.digest, self.source = settings, digest, source

    @classmethod
    @abstractmethod
    def build(cls, config: RunConfig, seed: int) -> Task:
        """Return the task of a run, with its data read."""

    def at_length(self, config: RunConfig, seed: int, length: int) -> Task:
        """Return the task with training sequences of another length of the schedule, and more of them in a step.

        A task whose data are large overrides `resized`, which reads them again.
        """
        return self if length == config.train.seq_len else self.resized(config.at_length(length), seed)

    def resized(self, config: RunConfig, seed: int) -> Task:
        """Return the task of a run that differs in the length of its sequences and in their number alone."""
        return self.build(config, seed)

    def model(self, config: RunConfig, seed: int) -> Backbone:
        """Return the model to train. A task with another head overrides this with another `Backbone`."""
        return LanguageModel(config.model, seed)

    @abstractmethod
    def sample(self, step: int) -> Batch:
        """Return the batch of a training step. It depends on data, seed, step, length and batch size only."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the training loss `[batch]` in the unit of `settings.LOSS`, summed over the terms of each example."""

    @abstractmethod
    def terms(self, batch: Batch) -> int:
        """Return the number of terms of all examples. A step's loss is the sum of `losses` divided by this."""

    @abstractmethod
    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Evaluate a model that is in evaluation mode, without gradients, and return its scores.

        The scores include `settings.LOSS` and `settings.METRIC` over all of the validation part and, without a limit,
        over all of the test part.

        Args:
            limit: The approximate number of tokens of the validation part to read, during training. None: all of both.
        """

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Evaluate the test part as `evaluate` does, without what is not needed for loss and metric over all of it."""
        return [score for score in self.evaluate(model, device) if score.split == "test"]

    @abstractmethod
    def inputs(self, tokens: int) -> Tensor:
        """Return about `tokens` tokens of the validation part `[batch, time]`, for memory diagnostics."""


def task_class(settings: TaskSettings) -> type[Task]:
    """Import the torch half of a task."""
    module, _, name = settings.TASK.partition(":")
    return getattr(importlib.import_module(module), name)


def build_task(config: RunConfig, seed: int) -> Task:
    """Return the task of a run, with its data read. Raise UserError where they do not fit."""
    return task_class(config.task.settings).build(config, seed)


def overall(scores: Iterable[Score], part: Part = "test") -> dict[str, float]:
    """Return the model's own values over all that was evaluated of a part, by name."""
    return {
        score.metric.name: score.value
        for score in scores
        if score.split == part and {score.setting, score.length, score.depth, score.position, score.baseline} == {None}
    }


def random_of(*facts: object) -> np.random.Generator:
    """Return a generator whose seed is a hash of some facts, so that training and test sets share nothing."""
    key = ":".join(map(str, facts))
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(key.encode()).hexdigest(), 16)))


def precise(outputs: Tensor) -> Tensor:
    """Return outputs `[...]` in float32 at least, to compute a loss from."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and back into training mode afterwards."""
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train()
