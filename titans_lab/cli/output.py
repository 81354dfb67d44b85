"""Rows on the terminal, as CSV or as JSON; figures for people."""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from titans_lab.cli.interrupts import terminable
from titans_lab.executors.answers import EndedEarly
from titans_lab.tables import TextFormat, to_table, to_text

T = TypeVar("T")

FAILED, INTERRUPTED = 3, 130  # exit codes
STYLES = {"done": "green", "running": "cyan", "failed": "red", "oom": "red", "lost": "red", "diverged": "yellow"}


def print_rows(columns: Sequence[str], rows: Iterable[Iterable[Any]], as_csv: bool, as_json: bool) -> None:
    """Print rows on standard output, as a table unless CSV or JSON is asked for."""
    form: TextFormat = "json" if as_json else "csv" if as_csv else "table"
    print(to_text(form, columns, rows, width()), end="")


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Print cells of text as a table that fits the terminal, if standard output is one."""
    print(to_table(columns, rows, width()), end="")


def width() -> int | None:
    """Return the width of the terminal that standard output is; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr where somebody looks; what to call with a few words, what is done, and of how much."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda words, done, total: bar.update(task, completed=done, total=total, description=escape(words))


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """The same for `total` steps; what to call with a few words after each."""
    with progress() as look:
        done = itertools.count(1)
        yield lambda words: look(words, next(done), total)


def collect(answers: Iterable[T], total: int, words: Callable[[T], str], what: str) -> list[T]:
    """All answers of a process, with a bar; fewer than `total` where it broke, which is said.

    Args:
        answers: One after the other, each kept in the store.
        total: How many are expected.
        words: Names one, for the bar.
        what: They are, for somebody who presses Ctrl-C, which ends the verb.
    """
    found: list[T] = []
    try:
        with terminable(), progress_bar(total) as tell:
            for each in answers:
                found.append(each)
                tell(words(each))
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {len(found)} of {total} {what} are kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except EndedEarly as error:
        typer.echo(f"failed: {error}", err=True)
    return found


def count(number: float) -> str:
    """1.2M and the like, three digits."""
    number = float(f"{number:.3g}")  # 999.9 is 1K
    for size, letter in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """3s, 4m05s, 2h10m."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
