"""A training as it stands after a step: written now and then, and taken up by a later attempt at the run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch

from titans_lab.store.checkpoints import Saved, checkpoints, save_checkpoint
from titans_lab.store.files import DamagedError
from titans_lab.store.recorder import Recorder, logged
from titans_lab.store.records import check_checkpoint
from titans_lab.store.succession import goes_on_alike
from titans_lab.training.microbatch import is_out_of_memory

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

    def resume(self, load: Callable[[State], None]) -> None:
        """Load the last sound checkpoint of the run, if any, and begin this attempt's logs with what led up to it.

        A checkpoint that is damaged, or that does not load, is named on stderr, and the one before is taken.

        Args:
            load: Takes over a state. Where it raises, nothing of that state may be left.
        """
        for saved in checkpoints(self.recorder.attempt.folder):
            try:
                lines = self._load(saved, load)
            except DamagedError as error:
                print(f"{error}; going on from the checkpoint before, or from the start", file=sys.stderr)
            else:
                self.recorder.begin_with(lines)
                self._step = saved.step
                self._note(saved)
                return

    def _note(self, saved: Saved) -> None:
        env = self.recorder.env
        alike = env.get("deterministic", False) and goes_on_alike(env, saved.attempt)
        begin = {"attempt": saved.attempt.number, "step": saved.step}
        self.recorder.note({"resumed_from": begin, "deterministic": alike})

    def _load(self, saved: Saved, load: Callable[[State], None]) -> dict[str, bytes]:
        """Load a checkpoint, and return the lines that led up to it. DamagedError where either is impossible."""
        saved.check()
        try:
            content = torch.load(saved.path, map_location="cpu", weights_only=True)
            check_checkpoint(saved.path, content)
            lines = logged(saved.attempt, content["logs"])
            load(content["state"])
        except DamagedError:
            raise
        except Exception as error:  # of another torch or another version: whatever it is, an older one may do
            if is_out_of_memory(error):
                raise
            first = (str(error).splitlines() or [""])[0]
            raise DamagedError(saved.path, f"does not load: {type(error).__name__}: {first}") from error
        return lines
