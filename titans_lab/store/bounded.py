"""Run an SQL statement in a separate process, with bounds on its time and its memory.

DuckDB's own bounds do not hold for every statement. It checks for an interrupt between two pieces of work, and a scalar
function of long texts or a list of 10^8 elements is one piece. Its memory limit does not count such a list. The
operating system's bounds do hold: an alarm ends the process, and memory above the bound is refused. The result is also
formatted in that process, so that formatting is bounded too.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from titans_lab.errors import UserError
from titans_lab.store.formats import encode
from titans_lab.store.query import Snapshot, TooLargeError
from titans_lab.tables import Format

LEAST_MEMORY = 512 * 2**20  # bytes
OWN_MEMORY = 256 * 2**20  # bytes that Python, Arrow and DuckDB's threads take before any statement


@dataclass(frozen=True)
class Bounds:
    """The time and memory that a statement may use.

    Attributes:
        seconds: Time from the start to the formatted result.
        memory: Memory of the whole process in bytes. macOS does not enforce it.
    """

    seconds: float = 60.0
    memory: int = 4 * 2**30

    def __post_init__(self) -> None:
        if self.memory < LEAST_MEMORY:
            raise UserError(f"--memory: the least is {LEAST_MEMORY >> 20}M")


@dataclass(frozen=True)
class Reply:
    """The result of a statement.

    Attributes:
        content: The formatted result, to be read once.
        warnings: The records of the store that could not be read, one a line.
    """

    content: IO[bytes]
    warnings: tuple[str, ...]


@contextmanager
def ask_bounded(
    root: Path, sql: str, parameters: Mapping[str, str], form: Format, bounds: Bounds, width: int | None = None
) -> Iterator[Reply]:
    """Run `Snapshot.ask` on the store at `root`. The process ends with the context, so Ctrl-C ends it too.

    Raises:
        UserError: The statement is wrong, or needs more than `bounds`.
    """
    request = {"root": str(root), "sql": sql, "parameters": parameters, "form": form, "width": width}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal reaches only this process, which then ends the other one
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin as asking:
            asking.write(json.dumps(request | vars(bounds)).encode())
        head = process.stdout.readline()
        if not head:
            raise UserError(f"query: {_ended(process.wait(), bounds)}")
        reply = json.loads(head)
        if "error" in reply:
            raise UserError(reply["error"])
        yield Reply(process.stdout, tuple(reply["warnings"]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _ended(code: int, bounds: Bounds) -> str:
    """Return why there is no result, from the exit code of the process."""
    if code == -signal.SIGALRM:
        return f"stopped after {bounds.seconds:g} s; --timeout gives it more"
    cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"its process ended by {cause}; it may need more memory than {_size(bounds.memory)}: --memory gives it more"


def _size(number: int) -> str:
    return f"{number / 2**30:.3g} GiB"


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the first line of the reply and its content."""
    try:
        snapshot = Snapshot(Path(request["root"]), request["memory"] - OWN_MEMORY)
        answer = snapshot.ask(request["sql"], request["parameters"])
        content = encode(answer.table, request["form"], request["width"])
    except (MemoryError, TooLargeError):
        size = _size(request["memory"])
        return {"error": f"query: needs more memory than {size}; --memory gives it more"}, b""
    except UserError as error:
        return {"error": str(error)}, b""
    return {"warnings": [str(damage) for damage in answer.damage]}, content


def main() -> None:
    """Answer the one request on standard input, within its bounds."""
    request = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    resource.setrlimit(resource.RLIMIT_DATA, (request["memory"], request["memory"]))
    head, content = _answer(request)
    signal.setitimer(signal.ITIMER_REAL, 0)  # whoever reads may take any time
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
