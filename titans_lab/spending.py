"""What a sweep has spent of its budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

from titans_lab.study.terms import Budget


@dataclass
class Spent:
    """Time since the sweep began, and the same for each device while it was at work: seconds of a clock that is steady.

    Attributes:
        begun: When the sweep began; None: it has not.
        looked: When time was last counted.
        devices: Seconds of all devices together.
    """

    begun: float | None = None
    looked: float = 0.0
    devices: float = 0.0

    def by(self, busy: int, now: float) -> Spent:
        """Counts what passed since the last look, in which so many devices were at work."""
        if self.begun is None:
            self.begun = self.looked = now
        self.devices += busy * (now - self.looked)
        self.looked = now
        return self

    def over(self, budget: Budget) -> bool:
        """Whether a budget is spent."""
        wall = self.looked - (self.begun or self.looked)
        return wall >= (budget.wall_time or math.inf) or self.devices >= (budget.device_time or math.inf)
