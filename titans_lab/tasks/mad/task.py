"""What the tasks of MAD have in common: one training set, one test set, and how a question is asked."""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import AnswerTask, ExampleSet
from titans_lab.tasks.mad import MadSettings
from titans_lab.tasks.task import IGNORED


class MadTask(AnswerTask):
    """A subclass draws the examples.

    MAD counts right answers by class and takes the mean over classes, batch by batch; here accuracy is the share of all
    answers. Classes are drawn with equal chances, so that the two are close.
    """

    settings: MadSettings

    def parts(self, training: bool) -> list[ExampleSet]:
        """One."""
        return [ExampleSet(self.length, self.settings.examples if training else self.settings.test_examples)]


def next_tokens(tokens: np.ndarray) -> np.ndarray:
    """Targets of a language model `[count, length]`; the last token has none."""
    return np.concatenate((tokens[:, 1:], np.full_like(tokens[:, :1], IGNORED)), 1)
