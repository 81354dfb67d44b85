"""A process with torch that is asked one question, on standard input, and answers in lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any


class EndedEarly(RuntimeError):
    """The process ended before its last answer, and has said why on stderr."""


def answers(module: str, arguments: Sequence[str], question: Any, environment: Mapping[str, str]) -> Generator[Any]:
    """What `python -m module` answers, line by line; it does not outlive the iterator.

    Args:
        module: Its name.
        arguments: Of its command line.
        question: What it reads, as JSON.
        environment: Variables on top of this process's own.

    Raises:
        EndedEarly: More is asked for than it answers.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C is for us
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin as asking:  # it may be dead already, and has said why
            json.dump(question, asking)
        yield from map(json.loads, process.stdout)
        raise EndedEarly(f"{module} ended with exit code {process.wait()} before its last answer; see above")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
