"""Signals that ask a worker to end: it stops after its step, and where that takes too long, at once."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ASKING = (signal.SIGTERM, signal.SIGINT)
PATIENCE_SECONDS = 2.5  # for a step and a checkpoint; less than a coordinator gives (`executors.local.GRACE_SECONDS`)


class Cancelled(BaseException):
    """The patience is over."""


class Ending:
    """Whether this process was asked to end.

    Attributes:
        asked: It was.
    """

    def __init__(self) -> None:
        self.asked = False
        self._sealed = False

    def listen(self) -> None:
        """From here on signals ask, and raise `Cancelled` when the patience is over."""
        for number in ASKING:
            signal.signal(number, self._ask)
        signal.signal(signal.SIGALRM, self._force)

    def ignore(self) -> None:
        """From here on signals do nothing, not even while the interpreter ends."""
        for number in (*ASKING, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """What goes on in here is not disturbed: it has ended, and nothing may turn that into something else."""
        self._sealed = True
        try:
            yield
        finally:
            self._sealed = False

    def _ask(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)

    def _force(self, *_: object) -> None:
        if not self._sealed:
            raise Cancelled


def leave(code: int) -> NoReturn:
    """End this process: without a look through all of torch for garbage, which takes half a second."""
    gc.freeze()
    sys.exit(code)
