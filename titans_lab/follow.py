"""Read the lines that a run's worker writes, also while it writes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from titans_lab.input import open_regular
from titans_lab.quantities import count
from titans_lab.store.columns import METRICS
from titans_lab.store.folder import Attempt
from titans_lab.store.logs import read_lines, row_of
from titans_lab.tables import harmless

PAUSE_SECONDS = 0.3
#: The text of each column in a line of metrics, in an order that fits 80 characters.
WORDS: dict[str, Callable[[float], str]] = {
    "step": lambda value: f"step {value:<6}",
    "tokens": lambda value: f"{count(value):>5} tokens",
    "loss": lambda value: f"loss {value:.4f}",
    "grad_norm": lambda value: f"gradient {value:<5.2g}",
    "tokens_per_second": lambda value: f"{count(value):>5} tokens/s",
    "valid_loss": lambda value: f"valid {value:.4f}",
}


def lines(attempt: Attempt, follow: bool = False, wanted: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """Yield the lines of an attempt's log and metrics.

    Args:
        attempt: The attempt.
        follow: Whether to go on until the attempt ends.
        wanted: A function that returns whether the lines still have a reader. It is called before each wait.
    """
    tails = [_Tail(attempt.log_path, str), _Tail(attempt.metrics_path, _words)]
    while True:
        ended = not follow or attempt.status() is not None or not attempt.claim.seems_alive()
        for tail in tails:
            yield from tail.new(ended)
        if ended or not wanted():
            return
        time.sleep(PAUSE_SECONDS)


def metrics(attempt: Attempt) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and the rows of an attempt's metrics so far."""
    names = [column.name for column in METRICS]
    rows, _ = read_lines(attempt.metrics_path, METRICS)
    return names, [[row[name] for name in names] for row in rows]


class _Tail:
    """Reads the new lines of a file."""

    def __init__(self, path: Path, form: Callable[[str], str]) -> None:
        self.path, self.form, self.place = path, form, 0

    def new(self, ended: bool) -> Iterator[str]:
        """Yield whole lines, and the rest if the writer has `ended`. Control characters are spelt out."""
        if not self.path.exists():
            return
        with open_regular(self.path) as file:
            file.seek(self.place)
            content = file.read()
        whole = content if ended else content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            yield self.form("\t".join(map(harmless, line.split("\t"))))


def _words(line: str) -> str:
    """Return a line of metrics as readable text."""
    row = row_of(line.encode())
    if row is None:
        return f"(damaged) {line}"
    known = ((words, row[name]) for name, words in WORDS.items())
    return "  ".join(words(value) for words, value in known if value is not None)
