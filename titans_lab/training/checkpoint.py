"""Save the state of a training after a step, and resume from it in a later attempt at the run."""

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

MOST_SHARE = 0.05  # the largest share of a run's time that checkpoints may take

#: The state of a trainer, in tensors, numbers, strings, and lists and dictionaries of these.
State = dict[str, Any]


class Checkpoints:
    """The checkpoints of a run: those of earlier attempts and this attempt's own.

    Args:
        recorder: The recorder of this attempt.
        every: The seconds between two checkpoints. None: only where the run is asked to stop.
    """

    def __init__(self, recorder: Recorder, every: float | None) -> None:
        self.recorder, self.every = recorder, math.inf if every is None else every
        self._due, self._step = perf_counter() + self.every, 0

    def due(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step`."""
        return step > self._step and perf_counter() >= self._due

    def save(self, step: int, state: State) -> None:
        """Write a checkpoint of the state after `step`."""
        begin = perf_counter()
        content = {"state": state, "logs": self.recorder.position()}
        save_checkpoint(self.recorder.attempt, step, lambda file: torch.save(content, file))
        end, self._step = perf_counter(), step
        self._due = end + max(self.every, (end - begin) / MOST_SHARE)

    def resume(self, load: Callable[[State], None]) -> Saved | None:
        """Load the last sound checkpoint of the run, if any, and begin this attempt's logs with the lines up to it.

        Return the checkpoint, or None without one.

        A checkpoint that is damaged or does not load is reported on stderr, and the one before is tried.

        Args:
            load: A function that takes over a state. If it raises, it must have changed nothing.
        """
        for saved in checkpoints(self.recorder.attempt.folder):
            try:
                lines = self._load(saved, load)
            except DamagedError as error:
                print(f"{error}; resuming from the checkpoint before, or from the start", file=sys.stderr)
            else:
                self.recorder.begin_with(lines)
                self._step = saved.step
                self._note(saved)
                return saved
        return None

    def _note(self, saved: Saved) -> None:
        env = self.recorder.env
        alike = env.get("deterministic", False) and goes_on_alike(env, saved.attempt)
        begin = {"attempt": saved.attempt.number, "step": saved.step}
        self.recorder.note({"resumed_from": begin, "deterministic": alike})

    def _load(self, saved: Saved, load: Callable[[State], None]) -> dict[str, bytes]:
        """Load a checkpoint, and return the log lines up to it. Raise DamagedError where either fails."""
        saved.check()
        try:
            content = torch.load(saved.path, map_location="cpu", weights_only=True)
            check_checkpoint(saved.path, content)
            lines = logged(saved.attempt, content["logs"])
            load(content["state"])
        except DamagedError:
            raise
        except Exception as error:  # another version of torch or of the trainer: an older checkpoint may load
            if is_out_of_memory(error):
                raise
            first = (str(error).splitlines() or [""])[0]
            raise DamagedError(saved.path, f"does not load: {type(error).__name__}: {first}") from error
        return lines
