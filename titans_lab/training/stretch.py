"""The steps of a training since its last line of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor


class Stretch:
    """Losses and norms of gradients, which stay on the device until they are looked at, and the time the steps took.

    Args:
        figures: Loss and norm of steps of an earlier attempt.
        seconds: That those took.
    """

    def __init__(self, figures: Sequence[tuple[float, float]] = (), seconds: float = 0.0) -> None:
        self._known, self._new = list(figures), list[Tensor]()
        self._seconds, self._since = seconds, perf_counter()

    def __bool__(self) -> bool:
        """Whether there are steps."""
        return bool(self._known or self._new)

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """A step."""
        self._new.append(torch.stack((loss, norm)))

    def figures(self) -> list[tuple[float, float]]:
        """Loss and norm of each step; waits for the device."""
        if self._new:
            self._known += map(tuple, torch.stack(self._new).tolist())
            self._new = []
        return self._known

    def seconds(self) -> float:
        """Of all steps; waits for the device."""
        self.figures()
        return self._seconds + perf_counter() - self._since

    def paused(self) -> dict[str, Any]:
        """What the constructor takes to go on; time does not count from here on, until `go_on`."""
        self._seconds = self.seconds()
        return {"figures": self.figures(), "seconds": self._seconds}

    def go_on(self) -> None:
        """Time counts again."""
        self._since = perf_counter()
