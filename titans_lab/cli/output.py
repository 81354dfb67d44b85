"""Rows on the terminal, as CSV or as JSON; figures for people."""

from __future__ import annotations

import csv
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from titans_lab.cli.interrupts import terminable
from titans_lab.executors.answers import EndedEarly

T = TypeVar("T")

FAILED, INTERRUPTED = 3, 130  # exit codes
STYLES = {"done": "green", "running": "cyan", "failed": "red", "oom": "red", "lost": "red", "diverged": "yellow"}


def print_rows(columns: Sequence[str], rows: Iterable[Iterable[Any]], as_csv: bool, as_json: bool) -> None:
    """Print rows on stdout: as a table unless told otherwise; a column whose name another one has gets a number."""
    names = distinct(columns)
    if as_json:
        print(json.dumps([dict(zip(names, map(plain, row), strict=True)) for row in rows], indent=1, default=str))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(map(_exact, row) for row in rows)
    else:
        print_table(names, (map(shown, row) for row in rows))


def distinct(names: Sequence[str]) -> list[str]:
    """Names of which none is there twice: loss, loss_1."""
    taken: dict[str, None] = {}
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        taken[next(other for other in itertools.chain([name], others) if other not in taken)] = None
    return list(taken)


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Aligned columns, numbers to the right; as wide as they are where nobody looks at a screen."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *table, strict=True)]
    right = [all(_is_number(cell) for cell in column) for column in zip(*table, strict=True)] or [False] * len(columns)
    print(_line(columns, widths, right))
    print("  ".join("─" * width for width in widths))
    for row in table:
        print(_line(row, widths, right))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1] in "0123456789-." or cell in ("nan", "inf")


def _exact(value: Any) -> str:
    """For a machine."""
    if value is None:
        return ""
    return json.dumps(plain(value), default=str) if isinstance(value, dict | list) else str(value)


def shown(value: Any) -> str:
    """For people: one line, six digits."""
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else _exact(value)
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def plain(value: Any) -> Any:
    """As JSON has it: what is not a finite number is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


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
