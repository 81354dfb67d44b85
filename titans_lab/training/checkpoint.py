"""A training as it stands after a step: written now and then, and taken up by a later attempt at the run."""

from __future__ import annotations

import math
import sys
from time import perf_counter
from typing import Any

import torch

from titans_lab.store.checkpoints import Saved, checkpoints, save_checkpoint
from titans_lab.store.files import DamagedError
from titans_lab.store.recorder import Recorder
from titans_lab.store.succession import goes_on_alike

MOST_SHARE = 0.05  # of a run's time, that goes into checkpoints

#: What a trainer needs to go on, in tensors, numbers, strings, lists and dictionaries of them.
State = dict[str, Any]


class Checkpoints:
    """Those of a run: the earlier attempts', and this one's.

    Args:
        recorder: Of this attempt.
        every: Seconds between two; null: none, unless asked for.
    """

    def __init__(self, recorder: Recorder, every: float | None) -> None:
        self.recorder, self.every = recorder, math.inf if every is None else every
        self._due, self._step = perf_counter() + self.every, 0

    def due(self, step: int) -> bool:
        """Whether it is time for one."""
        return step > self._step and perf_counter() >= self._due

    def save(self, step: int, state: State) -> None:
        """Write one."""
        begin = perf_counter()
        content = {"state": state, "logs": self.recorder.position()}
        save_checkpoint(self.recorder.attempt, step, lambda file: torch.save(content, file))
        end, self._step = perf_counter(), step
        self._due = end + max(self.every, (end - begin) / MOST_SHARE)

    def resume(self) -> State | None:
        """The state of the last one that is sound, its lines at the beginning of this attempt's; None: there is none.

        One that is damaged is named on stderr, and the one before is taken.
        """
        for saved in checkpoints(self.recorder.attempt.folder):
            try:
                state = self._taken_up(saved)
            except DamagedError as error:
                print(f"{error}; going on from the checkpoint before, or from the start", file=sys.stderr)
            else:
                self._step = saved.step
                self._note(saved)
                return state
        return None

    def _note(self, saved: Saved) -> None:
        env = self.recorder.env
        alike = env.get("deterministic", False) and goes_on_alike(env, saved.attempt)
        begin = {"attempt": saved.attempt.number, "step": saved.step}
        self.recorder.note({"resumed_from": begin, "deterministic": alike})

    def _taken_up(self, saved: Saved) -> State:
        saved.check()
        content = torch.load(saved.path, map_location="cpu", weights_only=True)
        self.recorder.go_on(saved.attempt, content["logs"])
        return content["state"]
