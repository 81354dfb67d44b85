"""Notice that the validation loss has stopped falling."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Plateau:
    """The validation losses of a training, as far as they decide its end.

    Attributes:
        best: The lowest loss so far.
        since: The number of checks since then.
        step: The last step that was checked.
    """

    best: float = math.inf
    since: int = 0
    step: int = 0

    def check(self, step: int, loss: float, delta: float) -> None:
        """Take the loss after a step into account, once.

        Args:
            step: The number of steps taken.
            loss: The validation loss. One that is not a number is not better.
            delta: The amount by which it has to be below the best one.
        """
        if step == self.step:
            return
        better = loss < self.best - delta
        self.best, self.since, self.step = loss if better else self.best, 0 if better else self.since + 1, step
