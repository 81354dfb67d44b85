"""Print rows, messages, progress and readable figures."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import typer

from titans_lab.cli.interrupts import terminable
from titans_lab.tables import TextFormat, harmless_lines, plain, to_table, to_text

if TYPE_CHECKING:
    from titans_lab.store.files import Damage

T = TypeVar("T")

FAILED, INTERRUPTED = 3, 130  # exit codes
STYLES = {"done": "green", "running": "cyan", "failed": "red", "oom": "red", "lost": "red", "diverged": "yellow"}


def note(line: str) -> None:
    """Print a line on standard error, with control characters escaped, since it may quote a record."""
    print(folded(harmless_lines(line), sys.stderr), file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line on standard output, with control characters escaped, since it may quote a record."""
    print(folded(harmless_lines(line), sys.stdout))


def folded(text: str, stream: TextIO) -> str:
    """Return a text whose lines end between words where the stream is a terminal, whatever its width."""
    if not stream.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, columns, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join("\n".join(line) for line in lines)


def print_damage(damage: Iterable[Damage]) -> None:
    """Print the records that cannot be read, on standard error."""
    for each in damage:
        note(f"warning: {each}")


def end_interrupted(words: str = "") -> NoReturn:
    """End a verb that Ctrl-C has interrupted, and say what is kept."""
    note(f"interrupted{f'; {words}' if words else ''}")
    raise typer.Exit(INTERRUPTED) from None


def print_rows(columns: Sequence[str], rows: Iterable[Iterable[Any]], form: TextFormat) -> None:
    """Print rows on standard output in a format."""
    print(rows_text(columns, rows, form), end="")


def rows_text(columns: Sequence[str], rows: Iterable[Iterable[Any]], form: TextFormat) -> str:
    """Return the text of `print_rows`."""
    return to_text(form, columns, rows, width())


def print_facts(facts: dict[str, Any], form: TextFormat) -> None:
    """Print what a verb has done as one row: in JSON, a list of one object."""
    print_rows(list(facts), [facts.values()], form)


def print_document(found: Any) -> None:
    """Print facts that are no rows as JSON. What is no number is null: see `titans_lab.tables.plain`."""
    print(json.dumps(plain(found), indent=1, default=str, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Print cells of text as a table that fits the terminal, if standard output is one."""
    print(to_table(columns, rows, width()), end="")


def width() -> int | None:
    """Return the width of the terminal that standard output is; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar on standard error if that is a terminal. Call the result with words, what is done, and of how much."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda words, done, total: bar.update(task, completed=done, total=total, description=escape(words))


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of `total` steps. Call the result with words after each."""
    with progress() as look:
        done = itertools.count(1)
        yield lambda words: look(words, next(done), total)


def collect(answers: Iterable[T], total: int, words: Callable[[T], str], what: str) -> list[T]:
    """Return all answers of a process, with a bar; fewer than `total`, and a message, where the process broke.

    Args:
        answers: They come one by one, and each is kept in the store.
        total: How many are expected.
        words: Names an answer, for the bar.
        what: The plural noun for them, for the message after Ctrl-C, which ends the verb.
    """
    from titans_lab.executors.answers import EndedEarly

    found: list[T] = []
    try:
        with terminable(), progress_bar(total) as tell:
            for each in answers:
                found.append(each)
                tell(words(each))
    except KeyboardInterrupt:
        end_interrupted(f"{len(found)} of {total} {what} are kept")
    except EndedEarly as error:
        note(f"failed: {error}")
    return found
