"""Call a command of the tool in this process, for benchmarks that call thousands."""

from __future__ import annotations

import io
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from titans_lab.cli import main as command


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    code: int | str
    out: str
    err: str


def call(*words: object) -> Ended:
    """Run a command. The code is "traceback" if it ends with an exception."""
    code: int | str = 0
    argv = patch.object(sys, "argv", ["titans-lab", *map(str, words)])
    out, err = _written(), _written()
    with redirect_stdout(out), redirect_stderr(err), argv:
        try:
            command()
        except SystemExit as end:
            code = end.code or 0
        except Exception:
            traceback.print_exc()
            code = "traceback"
    out.seek(0), err.seek(0)
    return Ended(code, out.read(), err.read())


def _written() -> io.TextIOWrapper:
    """Return a text stream over a buffer of bytes, as a terminal has, because `query` writes bytes."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
