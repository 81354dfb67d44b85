"""Count what a sweep has spent of its budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

from titans_lab.study.terms import Budget


@dataclass
class Spent:
    """The time spent by a sweep and by its devices, in seconds of a monotonic clock.

    Attributes:
        begun: The time at which the sweep began. None: it has not begun.
        looked: The time of the last count.
        devices: Seconds of work of all devices together.
    """

    begun: float | None = None
    looked: float = 0.0
    devices: float = 0.0

    def by(self, busy: int, now: float) -> Spent:
        """Return the sum after counting the time since the last look, during which `busy` devices worked."""
        if self.begun is None:
            self.begun = self.looked = now
        self.devices += busy * (now - self.looked)
        self.looked = now
        return self

    def over(self, budget: Budget) -> bool:
        """Return whether a budget is spent."""
        wall = self.looked - (self.begun or self.looked)
        return wall >= (budget.wall_time or math.inf) or self.devices >= (budget.device_time or math.inf)
