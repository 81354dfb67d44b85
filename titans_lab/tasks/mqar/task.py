"""Multi-query associative recall (arXiv 2312.04927): the examples and the suite of zoology.

A sequence begins with pairs of a key and a value, without repetition. Then every key is repeated once as a query, at a
distance from the pairs that a power law draws. Filler stands between the queries.
"""

from __future__ import annotations

import re

import numpy as np

from titans_lab.tasks.answers import AnswerTask, Examples, ExampleSet
from titans_lab.tasks.mqar import SUITE_TESTS, SUITE_TRAINING, MqarSettings
from titans_lab.tasks.task import IGNORED


class MqarTask(AnswerTask):
    """The task with one number of pairs, or with zoology's mixture and grid."""

    settings: MqarSettings

    def parts(self, training: bool) -> list[ExampleSet]:
        """Return the sets that the settings describe, or those of the suite."""
        settings = self.settings
        if settings.suite:
            return [
                ExampleSet(length, count, f"pairs={pairs}") for length, pairs, count in SUITE_TRAINING if training
            ] + [ExampleSet(length, count, f"pairs={pairs}") for length, pairs, count in SUITE_TESTS if not training]
        count = settings.examples if training else settings.test_examples
        return [ExampleSet(self.length, count, f"pairs={settings.pairs}")]

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples in which the target at a query is its value.

        Training and test examples have one distribution.
        """
        [pairs] = map(int, re.findall(r"\d+", part.setting or ""))
        head, half = 2 * pairs, self.settings.vocabulary // 2
        keys = _different(random, 1, half, count, pairs)
        values = _different(random, half, self.settings.vocabulary, count, pairs)
        places = head + 2 * query_places(random, self.settings.gap_power, (part.length - head) // 2, count, pairs)
        tokens = np.zeros((count, part.length), np.int64)
        if self.settings.filler:
            tokens[:, head:] = random.integers(0, self.settings.vocabulary, (count, part.length - head))
        tokens[:, 0:head:2], tokens[:, 1:head:2] = keys, values
        np.put_along_axis(tokens, places, keys, 1)
        targets = np.full_like(tokens, IGNORED)
        np.put_along_axis(targets, places, values, 1)
        return tokens, targets


def query_places(random: np.random.Generator, power: float, space: int, count: int, pairs: int) -> np.ndarray:
    """Return `[count, pairs]` different positions below `space`, drawn with weights (position + 1)^(power - 1).

    The positions with the largest log-weight plus Gumbel noise are such a draw (arXiv 1903.06059).
    """
    weights = (power - 1) * np.log(np.arange(1, space + 1))
    return np.argsort(-(weights + random.gumbel(size=(count, space))), axis=1)[:, :pairs]


def _different(random: np.random.Generator, low: int, high: int, count: int, size: int) -> np.ndarray:
    """Return `[count, size]` numbers from `low` to below `high`, different within each row."""
    return low + np.stack([random.choice(high - low, size, replace=False) for _ in range(count)])
