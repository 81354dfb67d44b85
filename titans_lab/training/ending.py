"""Handle the signals that ask a worker to stop: it stops after its step, or immediately if the step takes too long."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ASKING = (signal.SIGTERM, signal.SIGINT)
PATIENCE_SECONDS = 2.5  # the time for a step and a checkpoint, below `executors.local.GRACE_SECONDS`


class Cancelled(BaseException):
    """The step took longer than `PATIENCE_SECONDS` after the worker was asked to stop."""


class Ending:
    """The request to stop that this process may get by a signal.

    Attributes:
        asked: Whether the process was asked to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._sealed = False

    def listen(self) -> None:
        """Handle signals from now on: note the request, and raise `Cancelled` when `PATIENCE_SECONDS` are over."""
        for number in ASKING:
            signal.signal(number, self._ask)
        signal.signal(signal.SIGALRM, self._force)

    def ignore(self) -> None:
        """Ignore signals from now on, also while the interpreter ends."""
        for number in (*ASKING, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Keep `Cancelled` from being raised in the block, because the attempt has ended and its outcome must stay."""
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


def die(code: int) -> NoReturn:
    """End this process immediately, whatever its threads wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leave(code: int) -> NoReturn:
    """End this process without collecting torch's garbage, which takes half a second."""
    gc.freeze()
    sys.exit(code)
