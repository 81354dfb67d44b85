"""An executor whose runs take no time: a function of the configuration in the place of training, all else real."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from titans_lab.executors.devices import Device
from titans_lab.run.config import RunConfig
from titans_lab.run.run import config_of
from titans_lab.store.claims import NOBODY, Holder
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import Recorder, commit

#: From a configuration and a seed to the validation losses on the way, the last of which is the final one.
Curve = Callable[[RunConfig, int], Sequence[float]]


@dataclass
class InstantJob:
    """A run that takes a step at every look; a loss that is no number diverges, a string is the state it ends in."""

    attempt: Attempt
    device: Device
    curve: Sequence[float | str]
    every: int
    steps: int
    peak: int
    at: int = 0

    def poll(self) -> str | None:
        asked = self.attempt.asked_to_stop()
        if asked:
            return self._end(asked[0], {"steps": self.at * self.every}, asked[1])
        value = self.curve[self.at]
        self.at += 1
        if isinstance(value, str):
            return self._end(value, {}, "as the curve says")
        if not math.isfinite(value):
            return self._end("diverged", {"steps": self.at * self.every}, "the loss is not finite")
        if self.at < len(self.curve):
            Recorder(self.attempt, {}).log(step=self.at * self.every, loss=value, valid_loss=value, valid_score=value)
            return None
        figures = dict.fromkeys(("loss", "score", "valid_loss", "valid_score"), value)
        figures |= {"steps": self.steps, "tokens_per_second": 1000.0 * value}
        return self._end("done", figures | {"peak_memory_bytes": self.peak}, None)

    def _end(self, state: str, summary: dict[str, Any], error: str | None) -> str:
        commit(self.attempt, state, summary, error)
        self.attempt.claim.write(NOBODY, 0)
        return "ended"

    def terminate(self) -> None:
        if self.attempt.status() is None:
            commit(self.attempt, "cancelled", {}, "cancelled")

    def wait(self) -> None: ...

    def out_of_memory(self) -> bool:
        return False


@dataclass
class InstantExecutor:
    """Runs a curve.

    Attributes:
        curve: The metrics of a run.
        peak: Bytes of memory that a run takes.
        started: Ids of the runs that were started, in order.
    """

    curve: Curve
    peak: Callable[[RunConfig], int] = lambda config: 10**6
    started: list[str] = field(default_factory=list)

    def submit(self, folder: RunFolder, device: Device) -> InstantJob:
        attempt = folder.new_attempt(Holder.of(os.getpid()))
        record = folder.record()
        config = config_of(record)
        self.started.append(folder.run_id)
        curve = self.curve(config, record["seed"])
        return InstantJob(attempt, device, curve, config.log.valid_every or 1, config.train.steps, self.peak(config))

    def rest(self) -> None: ...
