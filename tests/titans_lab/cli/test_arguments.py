from __future__ import annotations

import os
import signal
import threading

import pytest
import typer

from titans_lab.cli.arguments import seconds, terminable


@pytest.mark.parametrize(
    ("words", "expected"), [("90s", 90), ("2h", 7200), ("30", 1800), ("1.5m", 90), (" 2 H ", 7200), (".5h", 1800)]
)
def test_a_time_is_read_as_people_write_it(words: str, expected: float):
    assert seconds(words) == expected


@pytest.mark.parametrize("words", ["", "0", "-5", "2d", "h", "1h30m", "nan", "inf", "1e3"])
def test_what_is_no_time_is_refused(words: str):
    with pytest.raises(typer.BadParameter, match="write 90s, 30m or 2h"):
        seconds(words)


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
