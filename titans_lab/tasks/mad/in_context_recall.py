"""MAD's in-context recall, plain and noisy.

The model is trained to predict every next token, as in MAD. It is tested on the values of keys that occurred before.
"""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import RecallSettings
from titans_lab.tasks.mad.task import MadTask, next_tokens
from titans_lab.tasks.task import IGNORED


class InContextRecallTask(MadTask):
    """The task: pairs of a key and a value, some of them noise. The last key is a repeated one."""

    settings: RecallSettings

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples in which the target at a key is its value."""
        pairs, known = part.length // 2, self.settings.vocabulary - self.settings.noise_tokens
        keys = random.integers(0, known // 2, (count, pairs))
        noisy = random.random((count, pairs)) < self.settings.noise_share
        noisy[np.arange(count), random.integers(0, pairs - 1, count)] = False  # there is something to ask for
        noisy[:, -1] = False
        before = _seen_before(keys, noisy, known // 2)
        keys[:, -1] = np.argmax(random.random(before[:, -1].shape) * before[:, -1], 1)  # one of them, by equal chances
        values = random.integers(known // 2, known, (count, known // 2))
        tokens = np.stack((keys, np.take_along_axis(values, keys, 1)), 2)
        noise = random.integers(known, known + max(1, self.settings.noise_tokens), tokens.shape)
        tokens = np.where(noisy[..., None], noise, tokens).reshape(count, part.length)
        if training:
            return tokens, next_tokens(tokens)
        asked = np.take_along_axis(before, keys[..., None], 2)[..., 0] & ~noisy
        targets = np.full_like(tokens, IGNORED)
        targets[:, 0::2] = np.where(asked, tokens[:, 1::2], IGNORED)
        return tokens, targets


def _seen_before(keys: np.ndarray, noisy: np.ndarray, distinct: int) -> np.ndarray:
    """Return which keys `[count, pairs, distinct]` occurred in the pairs before each."""
    seen = np.logical_or.accumulate((keys[..., None] == np.arange(distinct)) & ~noisy[..., None], 1)
    return np.concatenate((np.zeros_like(seen[:, :1]), seen[:, :-1]), 1)
