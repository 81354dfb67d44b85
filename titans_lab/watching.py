"""Show the progress of a sweep to a script or a notebook. The command line has a display of its own."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from titans_lab.durations import spell_duration
from titans_lab.progress import Progress, RunProgress
from titans_lab.run.run import Run
from titans_lab.sweep import Sweep

NOTEBOOK_SECONDS, SCRIPT_SECONDS = 0.5, 30.0  # between two looks
SHOWN = 16  # running runs


@contextmanager
def shown(runs: list[Run]) -> Iterator[Callable[[Sweep], None]]:
    """Return what to call after each turn of a sweep over `runs`.

    In a notebook it keeps one text up to date. Elsewhere it prints the text on standard error, now and then.
    """
    view = _View(Progress(runs), *_place())
    try:
        yield view.look
    finally:
        view.show()


@dataclass
class _View:
    """The text about a sweep, which `write` shows whenever it has changed and `pause` seconds are over."""

    progress: Progress
    write: Callable[[str], None]
    pause: float
    sweep: Sweep | None = None
    text: str = ""
    last: float = -math.inf

    def look(self, sweep: Sweep) -> None:
        self.sweep = sweep
        if time.monotonic() - self.last >= self.pause:
            self.last = time.monotonic()
            self.show()

    def show(self) -> None:
        text = words(self.progress, self.sweep) if self.sweep else ""
        if text != self.text:
            self.text = text
            self.write(text)


def words(progress: Progress, sweep: Sweep) -> str:
    """Return the state of a sweep: the number of runs in each state, then a line for each running run."""
    counts = ", ".join(f"{number} {state}" for state, number in progress.counts(sweep).items() if number)
    left = progress.seconds_left(sweep) if sweep.active else None
    head = counts or "nothing to run"
    lines = [head if left is None else f"{head}; about {spell_duration(left)} left"]
    return "\n".join([*lines, *map(_line, progress.running(sweep)[:SHOWN])])


def _line(run: RunProgress) -> str:
    loss = "starting" if run.loss is None else f"step {run.step}/{run.steps}  loss {run.loss:.4f}"
    return f"  {run.label}  {loss}"


def _place() -> tuple[Callable[[str], None], float]:
    """Return a function that shows a text, and the seconds between two calls of it."""
    python: Any = sys.modules.get("IPython")
    shell = python and python.get_ipython()
    if not shell or not getattr(shell, "kernel", None):
        return lambda text: print(text, file=sys.stderr, flush=True), SCRIPT_SECONDS
    from IPython.display import display

    handle = display(_Text(""), display_id=True)
    return lambda text: handle.update(_Text(text)), NOTEBOOK_SECONDS


class _Text(str):
    """A text that a notebook shows without quotes."""

    def __repr__(self) -> str:
        return str(self)
