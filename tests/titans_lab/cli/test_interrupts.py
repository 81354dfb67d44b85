from __future__ import annotations

import os
import signal
import threading

import pytest

from titans_lab.cli.interrupts import terminable


def interrupted(number: int) -> None:
    with terminable():
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(60)
        finally:
            for again in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), again)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_interrupts_and_the_second_does_not(number: signal.Signals):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupted(number)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
