"""Start a process with torch that reads one request from standard input and answers in lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any


class EndedEarly(RuntimeError):
    """The process ended before its last answer. Its stderr says why."""


def answers(module: str, arguments: Sequence[str], question: Any, environment: Mapping[str, str]) -> Generator[Any]:
    """Yield the answers of `python -m module`, line by line. The process ends with the iterator.

    Args:
        module: The name of the module.
        arguments: The arguments of its command line.
        question: The request, which it reads as JSON.
        environment: Variables to set in addition to this process's own.

    Raises:
        EndedEarly: The process ended before the answer that the caller wants.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C goes to this process only
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with (
            suppress(BrokenPipeError),
            process.stdin as asking,
        ):  # it may have died already, and its stderr says why
            json.dump(question, asking)
        yield from map(json.loads, process.stdout)
        raise EndedEarly(f"{module} ended with exit code {process.wait()} before its last answer; see above")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
