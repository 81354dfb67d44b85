"""Collect the losses of a training since its last line of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor


class LogInterval:
    """The steps since the last line of metrics.

    Losses and gradient norms stay on the device until they are read. The time of the steps is counted.

    Args:
        figures: The figures of the steps of an earlier attempt: see `Replica.take_step`.
        seconds: The seconds that these took.
    """

    def __init__(self, figures: Sequence[tuple[float, ...]] = (), seconds: float = 0.0) -> None:
        self._known, self._new = list(figures), list[Tensor]()
        self._seconds, self._since = seconds, perf_counter()

    def __bool__(self) -> bool:
        """Return whether there are steps."""
        return bool(self._known or self._new)

    def add(self, *figures: Tensor) -> None:
        """Add a step: its loss, its gradient norm and further figures, all scalars `[]`."""
        self._new.append(torch.stack(figures))

    def figures(self) -> list[tuple[float, ...]]:
        """Return the figures of each step, after waiting for the device."""
        if self._new:
            self._known += map(tuple, torch.stack(self._new).tolist())
            self._new = []
        return self._known

    def seconds(self) -> float:
        """Return the seconds of all steps, after waiting for the device."""
        self.figures()
        return self._seconds + perf_counter() - self._since

    def paused(self) -> dict[str, Any]:
        """Return the constructor's arguments for a resumed attempt, and stop the clock until `go_on`."""
        self._seconds = self.seconds()
        return {"figures": self.figures(), "seconds": self._seconds}

    def go_on(self) -> None:
        """Start the clock again."""
        self._since = perf_counter()
