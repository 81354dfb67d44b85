"""Standard streams that are closed, or that break while a verb is at work.

A verb whose output nobody reads any more goes on to its end and ends with its own exit code: `| head` ends no run of a
sweep and makes no success of a failed check. A verb that would print for ever looks at
`problem`.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any


class Lossy(io.FileIO):
    """A file descriptor that takes whatever is written to it, and drops what cannot be written.

    Attributes:
        problem: Why something was dropped; None as long as nothing was.
    """

    problem: OSError | None = None

    def write(self, content: Any, /) -> int:
        """Write some bytes and return how many are done with."""
        if self.problem is None:
            try:
                return super().write(content)
            except OSError as error:
                self.problem = error
        return memoryview(content).nbytes


def make_lossy() -> None:
    """Open the standard streams that are closed, and make the two for output `Lossy`.

    A stream that is closed would otherwise be the next file that is opened, and what is printed would go there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the whole process
    for name, number in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        if before is not getattr(sys, f"__{name}__"):
            continue  # a caller has put its own stream there
        settings = {} if before is None else {"encoding": before.encoding, "errors": before.errors}
        if settings.get("errors") == "strict":  # a terminal of few letters shows a question mark for the others
            settings["errors"] = "replace"
        if before is not None:
            before.flush()
        raw = Lossy(number, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw), **settings, line_buffering=raw.isatty() or name == "stderr", write_through=False
        )
        setattr(sys, name, stream)


def has_reader() -> bool:
    """Return whether somebody may still read standard output; the system says so of a pipe before anything is lost."""
    polled = select.poll()
    polled.register(1, 0)  # an error of the descriptor is reported unasked
    return problem() is None and not any(event & select.POLLERR for _, event in polled.poll(0))


def problem() -> OSError | None:
    """Return why something that was printed on standard output is lost; None where nothing is, as far as one knows."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)  # a caller in Python may have replaced the stream
    return raw.problem if isinstance(raw, Lossy) else None
