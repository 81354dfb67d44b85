"""MAD's memorization: a key and a sign. The target at the sign is the value that the key has in every sequence.

The test asks for the same facts as training, in other sequences. No sequence contains the value itself.
"""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import MemorizationSettings
from titans_lab.tasks.mad.task import MadTask
from titans_lab.tasks.task import IGNORED, random_of


class MemorizationTask(MadTask):
    """The task, whose training and test examples have one distribution."""

    settings: MemorizationSettings

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples with uniformly random keys."""
        values = self.facts()
        keys = random.integers(0, len(values), (count, part.length // 2))
        tokens = np.full((count, part.length), self.settings.vocabulary - 1)
        tokens[:, 0::2] = keys
        targets = np.full_like(tokens, IGNORED)
        targets[:, 1::2] = values[keys]
        return tokens, targets

    def facts(self) -> np.ndarray:
        """Return the value of each key `[keys]`, all different, and the same for all runs."""
        sign = self.settings.vocabulary - 1
        return random_of(self.name, "facts", sign).permutation(np.arange(sign // 2, sign))[: sign // 2]
