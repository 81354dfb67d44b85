"""MAD's memorisation: a key and a sign, and the target at the sign is the value that the key has everywhere.

The test asks for the same facts as the training, in other sequences: nothing in a sequence gives a value away.
"""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import MemorizationSettings
from titans_lab.tasks.mad.task import MadTask
from titans_lab.tasks.task import IGNORED, random_of


class MemorizationTask(MadTask):
    """Training and test examples are alike."""

    settings: MemorizationSettings

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Keys by equal chances."""
        values = self.facts()
        keys = random.integers(0, len(values), (count, part.length // 2))
        tokens = np.full((count, part.length), self.settings.vocabulary - 1)
        tokens[:, 0::2] = keys
        targets = np.full_like(tokens, IGNORED)
        targets[:, 1::2] = values[keys]
        return tokens, targets

    def facts(self) -> np.ndarray:
        """The value of each key, every one another: the same for all runs."""
        sign = self.settings.vocabulary - 1
        return random_of(self.name, "facts", sign).permutation(np.arange(sign // 2, sign))[: sign // 2]
