"""The base of generated tasks: sets of token sequences with answers at some positions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig
from titans_lab.tasks.task import IGNORED, Batch, Score, Task, precise, random_of

#: Tokens and targets `[count, length]`. A target is the answer at its position, or `IGNORED` where there is none.
Examples = tuple[np.ndarray, np.ndarray]

DRAWN_AT_ONCE = 1024  # examples


@dataclass(frozen=True)
class ExampleSet:
    """A set of examples of one kind.

    Attributes:
        length: The tokens in a sequence.
        count: The number of examples. None, for a training set: every example is new.
        setting: The name of the kind, where there are several.
    """

    length: int
    count: int | None
    setting: str | None = None


class AnsweringModel(Protocol):
    """A model that a generated task can train: `LanguageModel` or `AutoEncoder`."""

    def logits_at(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Return logits `[answers, vocab]` of tokens `[batch, time]` where `wanted` `[batch, time]` is true."""


class AnswerTask(Task):
    """A task with training sets that are reshuffled every epoch, and evaluation sets from other random numbers.

    The training sets depend on the seed. The validation sets and the test sets are the same for every run.

    Args:
        config: The configuration of the run.
        seed: The seed of the run.
    """

    def __init__(self, config: RunConfig, seed: int) -> None:
        super().__init__(config.task.settings, config.data_digest(), config.data_source())
        self.name, self.seed = self.settings.NAME, seed
        self.length, self.batch = config.train.seq_len, config.train.batch_size
        self.draw_set, self.order = lru_cache(None)(self._drawn), lru_cache(2)(self._shuffled)

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> AnswerTask:
        """Return the task of a run, without reading anything."""
        return cls(config, seed)

    @abstractmethod
    def parts(self, training: bool) -> list[ExampleSet]:
        """Return the sets to train on or to test on. Only a single training set may be endless."""

    @abstractmethod
    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw `count` examples of a set, `[count, length]`."""

    def sample(self, step: int) -> Batch:
        """Return inputs and targets `[examples, length]` of one set. Every step has the same number of tokens."""
        part, *others = self.parts(training=True)
        if part.count is None:
            assert not others, "an endless set must be the only one"
            random = random_of(self.name, "train", self.seed, step, self.length, self.batch)
            return _tensors(self.draw(random, part, self.batch, training=True))
        epoch, place = divmod(step, len(self.order(0)))
        part, chosen = self.order(epoch)[place]
        inputs, targets = self.draw_set(part, "train")
        return _tensors((inputs[chosen], targets[chosen]))

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy `[batch]` in nats, summed over the answers of each example."""
        inputs, targets = batch
        wanted = targets != IGNORED
        losses = F.cross_entropy(_logits(model, inputs, wanted), targets[wanted], reduction="none")
        return losses.new_zeros(targets.shape).masked_scatter(wanted, losses).sum(1)

    def terms(self, batch: Batch) -> int:
        """Return the number of answers in the batch."""
        return int((batch[1] != IGNORED).sum())

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Return the loss and the accuracy of greedy answers, over all sets and, of several, for each.

        With a limit, evaluate the validation sets; without one, these and the test sets.
        """
        splits: tuple[Part, ...] = ("valid",) if limit is not None else ("valid", "test")
        return [score for split in splits for score in self._judge_split(model, device, split, limit)]

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Return loss and accuracy over the test sets."""
        return list(self._judge_split(model, device, "test", None))

    def inputs(self, tokens: int) -> Tensor:
        """Return the first validation examples of the first set, `[batch, length]`."""
        part = self.parts(training=False)[0]
        return next(self.examples(part, "valid", min(tokens, self.batch * part.length)))[0]

    def examples(self, part: ExampleSet, split: Part, limit: int | None = None) -> Iterator[Batch]:
        """Yield an evaluation set in batches, or its first examples with about `limit` tokens."""
        count = part.count if limit is None else max(1, limit // part.length)
        inputs, targets = _tensors(tuple(x[:count] for x in self.draw_set(part, split)))  # type: ignore[arg-type]
        yield from zip(inputs.split(self.batch), targets.split(self.batch), strict=True)

    def _drawn(self, part: ExampleSet, split: Part) -> Examples:
        assert part.count is not None
        whose = ("train", self.seed) if split == "train" else (split,)
        random = random_of(self.name, *whose, part.length, part.setting)
        sizes = [min(DRAWN_AT_ONCE, part.count - start) for start in range(0, part.count, DRAWN_AT_ONCE)]
        drawn = (self.draw(random, part, size, split == "train") for size in sizes)
        tokens, targets = (np.concatenate([x.astype(np.int32) for x in each]) for each in zip(*drawn, strict=True))
        return tokens, targets

    def _shuffled(self, epoch: int) -> list[tuple[ExampleSet, np.ndarray]]:
        """Return the whole batches of an epoch. The examples that are left over differ from epoch to epoch."""
        random = random_of(self.name, "order", self.seed, epoch, self.length, self.batch)
        batches: list[tuple[ExampleSet, np.ndarray]] = []
        for part in self.parts(training=True):
            assert part.count is not None
            size = self.batch * (self.length // part.length)
            order = random.permutation(part.count)
            batches += [(part, order[start : start + size]) for start in range(0, part.count - size + 1, size)]
        return [batches[place] for place in random.permutation(len(batches))]

    def _judge_split(self, model: nn.Module, device: torch.device, split: Part, limit: int | None) -> Iterator[Score]:
        parts = self.parts(training=False)
        judged = [self._judge(model, device, self.examples(part, split, limit)) for part in parts]
        losses, right, counts = zip(*judged, strict=True)
        yield from self._scores(sum(losses), sum(right), sum(counts), split)
        if len(parts) > 1:
            for part, figures in zip(parts, judged, strict=True):
                yield from self._scores(*figures, split, part)

    def _judge(self, model: nn.Module, device: torch.device, batches: Iterator[Batch]) -> tuple[float, int, int]:
        """Return the sum of the losses in nats, the number of right answers, and the number of answers."""
        loss, right, count = 0.0, 0, 0
        for inputs, targets in batches:
            wanted = targets != IGNORED
            logits, answers = _logits(model, inputs.to(device), wanted.to(device)), targets[wanted].to(device)
            loss += float(F.cross_entropy(logits.double(), answers, reduction="sum"))
            right += int((logits.argmax(-1) == answers).sum())
            count += len(answers)
        return loss, right, count

    def _scores(
        self, loss: float, right: int, count: int, split: Part, part: ExampleSet | None = None
    ) -> Iterator[Score]:
        where = {"setting": part.setting, "length": part.length} if part else {}
        for metric, value in {self.settings.LOSS: loss / count, self.settings.METRIC: right / count}.items():
            yield Score(metric, value, count, split, **where)  # type: ignore[arg-type]


def _logits(model: nn.Module, tokens: Tensor, wanted: Tensor) -> Tensor:
    return precise(cast(AnsweringModel, model).logits_at(tokens, wanted))


def _tensors(examples: Examples) -> Batch:
    return tuple(torch.from_numpy(x.astype(np.int64)) for x in examples)
