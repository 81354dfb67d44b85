"""The memory that trials are expected to take: one that would break a bound on it is never started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from titans_lab.executors.devices import Device
from titans_lab.planning.expected import Experience, on
from titans_lab.planning.history import Hardware, Past, past_of
from titans_lab.study.config import RunConfig
from titans_lab.study.study import Run

PEAK = "peak_memory_bytes"


class Forecast:
    """What `titans-lab plan` would expect of a run, learned from the store's runs and then from those of the search.

    Args:
        history: The finished runs of the store.
        device: On which trials run, all alike.
    """

    def __init__(self, history: Iterable[Past], device: Device) -> None:
        self.history = list(history)
        self.device = device
        self._experience: Experience | None = None

    def learn(self, run: Run, summary: Mapping[str, Any]) -> None:
        """Take in what a run of the search has taken."""
        self.history.append(past_of(run, self._hardware(run.config), peak_bytes=summary.get(PEAK)))
        self._experience = None

    def figures(self, config: RunConfig) -> dict[str, float]:
        """The middle of what is expected, by the name that the figure has when it is measured; nothing is guessed."""
        self._experience = self._experience or Experience(self.history)
        peak = self._experience.cost(config, self._hardware(config)).peak_bytes
        return {PEAK: peak.value} if peak else {}

    def _hardware(self, config: RunConfig) -> Hardware:
        return on(self.device.kind, self.device.hardware, config)
