"""MAD's selective copying: tokens among blanks, a sign, and then blanks at which the tokens are expected in order."""

from __future__ import annotations

import numpy as np

from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import SelectiveCopyingSettings
from titans_lab.tasks.mad.task import MadTask
from titans_lab.tasks.task import IGNORED


class SelectiveCopyingTask(MadTask):
    """The task, whose training and test examples have one distribution."""

    settings: SelectiveCopyingSettings

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples in which each blank precedes a uniformly random token.

        The last token is right before the sign.
        """
        copied, sign = self.settings.copied, self.settings.vocabulary - 1
        blanks = part.length - 2 * copied - 1
        content = random.integers(0, sign - 1, (count, copied))
        before = random.multinomial(blanks, np.full(copied, 1 / copied), count).cumsum(1)
        tokens = np.full((count, part.length), sign - 1)
        np.put_along_axis(tokens, before + np.arange(copied), content, 1)
        tokens[:, blanks + copied] = sign
        targets = np.full_like(tokens, IGNORED)
        targets[:, -copied:] = content
        return tokens, targets
