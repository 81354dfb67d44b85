"""The base of MAD's tasks: one training set, one test set, and the form of questions."""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import AnswerTask, ExampleSet
from titans_lab.tasks.mad import MadSettings
from titans_lab.tasks.task import IGNORED


class MadTask(AnswerTask):
    """The base of MAD's tasks. A subclass draws the examples.

    MAD averages accuracy over classes, batch by batch. Here accuracy is the share of all answers. The two are close,
    because classes are uniform.
    """

    settings: MadSettings

    def parts(self, training: bool) -> list[ExampleSet]:
        """Return the only set."""
        return [ExampleSet(self.length, self.settings.examples if training else self.settings.test_examples)]


def next_tokens(tokens: np.ndarray) -> np.ndarray:
    """Return the targets of a language model `[count, length]` on tokens `[count, length]`. The last token has none."""
    return np.concatenate((tokens[:, 1:], np.full_like(tokens[:, :1], IGNORED)), 1)
