"""Predict the peak memory of trials. A trial that would certainly violate a bound on it is never started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from titans_lab.executors.devices import Device
from titans_lab.planning.expected import Experience, on
from titans_lab.planning.history import Hardware, Past, past_of
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.study.terms import Limit

PEAK = "peak_memory_bytes"


class Forecast:
    """Predicts the costs of a trial as `titans-lab plan` does, from the store's runs and then from the search's own.

    Args:
        history: The finished runs of the store.
        device: The device that trials run on, all alike.
        limit: The bound on peak memory.
    """

    def __init__(self, history: Iterable[Past], device: Device, limit: Limit) -> None:
        self.history = list(history)
        self.device = device
        self.limit = limit
        self._experience: Experience | None = None

    def learn(self, run: Run, summary: Mapping[str, Any]) -> None:
        """Take in what a run of the search has measured."""
        self.history.append(past_of(run, self._hardware(run.config), peak_bytes=summary.get(PEAK)))
        self._experience = None

    def figures(self, config: RunConfig) -> dict[str, float]:
        """Return the figure within the prediction's interval that is nearest to the bound, by its measured name.

        So a trial breaks the bound only where all of the interval does. A run of the same shape was measured and
        needs no interval. Without either nothing is known, and nothing is returned.
        """
        self._experience = self._experience or Experience(self.history)
        peak = self._experience.cost(config, self._hardware(config)).peak_bytes
        if peak is None or (peak.low is None and not peak.same_shape):
            return {}
        low, high = (peak.value if end is None else end for end in (peak.low, peak.high))
        return {PEAK: min(max(low, self.limit.low or 0.0), high)}

    def _hardware(self, config: RunConfig) -> Hardware:
        return on(self.device.kind, self.device.hardware, config)
