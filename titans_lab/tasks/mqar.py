"""Multi-query associative recall (arXiv 2312.04927, section 3 and appendix E): zoology's generator.

A sequence begins with `pairs` of a key and a value, all different. In the rest every key stands once more, at an even
distance from its beginning that is drawn by a power law, and the value has to be predicted there; between these queries
stands filler.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from titans_lab.sources import generated_digest, generated_source
from titans_lab.study.config import RunConfig
from titans_lab.study.tasks.mqar import MqarSettings
from titans_lab.tasks.task import IGNORED, Batch, Score, Task, answer_losses, answers, random_of

NAME = "mqar"


class MqarTask(Task):
    """Training batches from one stream of random numbers, the test set from another."""

    settings: MqarSettings

    def __init__(self, settings: MqarSettings, seed: int, length: int, batch: int) -> None:
        super().__init__(settings, generated_digest(NAME), generated_source(NAME))
        self.seed, self.length, self.batch = seed, length, batch

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> MqarTask:
        """Nothing is read."""
        return cls(config.task.mqar, seed, config.train.length, config.train.batch)

    def sample(self, step: int) -> Batch:
        """Inputs and targets `[batch, length]`; a training set of a fixed size comes again and again, in order."""
        size = self.settings.examples
        place = step if size is None else step % max(1, size // self.batch)
        random = random_of(NAME, "train", self.seed, place, self.length, self.batch)
        return draw(random, self.settings, self.length, self.batch)

    def test(self, limit: int | None = None) -> Iterator[Batch]:
        """The test set, the same for every run, or as many of its examples as have about `limit` tokens."""
        count = self.settings.test_examples
        count = count if limit is None else min(count, max(1, limit // self.length))
        random = random_of(NAME, "test", self.length)
        inputs, targets = draw(random, self.settings, self.length, count)
        yield from zip(inputs.split(self.batch), targets.split(self.batch), strict=True)

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats, summed over the queries."""
        inputs, targets = batch
        return answer_losses(model(inputs), targets)

    def terms(self, batch: Batch) -> int:
        """Queries."""
        return answers(batch[1])

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Loss, and the share of queries whose likeliest token is the value."""
        loss, right, count = 0.0, 0, 0
        for inputs, targets in self.test(limit):
            targets = targets.to(device)
            logits = model(inputs.to(device))
            loss += float(answer_losses(logits, targets).double().sum())
            right += int((logits.argmax(-1) == targets).sum())
            count += answers(targets)
        return [Score(self.settings.LOSS, loss / count, count), Score(self.settings.METRIC, right / count, count)]

    def inputs(self, tokens: int) -> Tensor:
        """The first test examples."""
        return next(self.test(min(tokens, self.batch * self.length)))[0]


def draw(random: np.random.Generator, settings: MqarSettings, length: int, count: int) -> Batch:
    """Inputs and targets `[count, length]`: a target is the value at each query, and `IGNORED` elsewhere."""
    pairs, half = settings.pairs, settings.vocabulary // 2
    keys = _different(random, 1, half, count, pairs)
    values = _different(random, half, settings.vocabulary, count, pairs)
    places = 2 * pairs + 2 * query_gaps(random, settings.gap_power, (length - 2 * pairs) // 2, count, pairs)
    inputs = np.zeros((count, length), np.int64)
    inputs[:, 0 : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = keys, values
    if settings.filler:
        inputs[:, 2 * pairs :] = random.integers(0, settings.vocabulary, (count, length - 2 * pairs))
    np.put_along_axis(inputs, places, keys, 1)
    targets = np.full((count, length), IGNORED)
    np.put_along_axis(targets, places, values, 1)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def query_gaps(random: np.random.Generator, power: float, space: int, count: int, pairs: int) -> np.ndarray:
    """Places `[count, pairs]` of the queries among `space`, all different, drawn in turn by the weights of a power law.

    The largest of the logarithms of the weights plus Gumbel noise are such a draw (arXiv 1903.06059).
    """
    weights = np.log(power) + (power - 1) * np.log(np.arange(1, space + 1))
    return np.argsort(-(weights + random.gumbel(size=(count, space))), axis=1)[:, :pairs]


def _different(random: np.random.Generator, low: int, high: int, count: int, size: int) -> np.ndarray:
    """`[count, size]` numbers from `low` up to `high`, those of a row all different."""
    return low + np.stack([random.choice(high - low, size, replace=False) for _ in range(count)])
