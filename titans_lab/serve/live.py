"""What the live page shows: the state of the runs now, and the report, which is drawn anew when runs have changed."""

from __future__ import annotations

import hashlib
import html
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from titans_lab.durations import spell_duration
from titans_lab.errors import UserError
from titans_lab.report import page, store_report, study_report
from titans_lab.run.run import Run
from titans_lab.status import COUNTED, seconds_left, shown_runs, store_status, study_columns, study_status, totals
from titans_lab.store.store import Store
from titans_lab.study.study import Study
from titans_lab.tables import harmless, shown

PAUSE = 4.0  # seconds between two computations, as a multiple of the time that one takes
NOTHING = """\
<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<title>No report yet</title>
<body style="font-family: system-ui, sans-serif"><p>{}</p>"""


class _Paced:
    """A value that is computed again at most so often that this takes a fifth of the time, and not within `least` s."""

    def __init__(self, make: Callable[[], Any], least: float) -> None:
        self.make, self.least = make, least
        self.lock, self.next = threading.Lock(), -math.inf
        self.value: Any = None

    def latest(self) -> Any:
        """Return the value, which may be a little old."""
        with self.lock:
            if time.monotonic() >= self.next:
                begin = time.monotonic()
                self.value = self.make()
                self.next = time.monotonic() + max(self.least, PAUSE * (time.monotonic() - begin))
            return self.value

    def wait(self) -> None:
        """Wait until the value may be computed again."""
        time.sleep(max(0.0, self.next - time.monotonic()))


class Live:
    """The runs of a study, or all studies of a store. Its methods may be called by several threads.

    Args:
        store: The store.
        study: The study with its runs. None: the whole store.
    """

    def __init__(self, store: Store, study: tuple[Study, Sequence[Run]] | None = None) -> None:
        self.store, self.study = store, study
        self._status, self._report = _Paced(self._look, 1.0), _Paced(self._draw, 5.0)
        self._of = ""  # the version of the status that the report was drawn at

    def status(self) -> dict[str, Any]:
        """Return the table of runs or studies: `title`, `question`, `summary`, `columns`, `rows` of texts, `version`.

        The version is another one whenever a row has changed.
        """
        return self._status.latest()

    def report(self) -> str:
        """Return the report as HTML. Where runs have changed, it waits until the report may be drawn again."""
        if self.status()["version"] != self._of:
            self._report.wait()
        return self._report.latest() if self.status()["version"] != self._of else self._report.value

    def _look(self) -> dict[str, Any]:
        title, question, columns, summary = self._of_study() if self.study else self._of_store()
        rows = list(zip(*columns.values(), strict=True))
        version = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
        texts = [[harmless(cell) for cell in row] for row in rows]
        facts = {"title": title, "question": question, "summary": summary, "version": version}
        return {**facts, "columns": list(columns), "rows": texts}

    def _draw(self) -> str:
        self._of = self.status()["version"]
        try:
            root = self.store.root
            return page(study_report(*self.study, root) if self.study else store_report(root))
        except UserError as error:
            return NOTHING.format(html.escape(str(error)))

    def _of_study(self) -> tuple[str, str, dict[str, list[str]], str]:
        assert self.study is not None
        study, runs = self.study
        stand = shown_runs(study, runs, self.store)
        rows = study_status(stand, self.store)
        left = seconds_left(stand, rows)
        ending = f"; about {spell_duration(left)} left" if left is not None else ""
        summary = totals(Counter(row["state"] for row in rows)) + ending
        return study.variant, study.question, study_columns(stand, rows), summary

    def _of_store(self) -> tuple[str, str, dict[str, list[str]], str]:
        try:
            rows, _ = store_status(self.store)
        except UserError:  # the first sweep makes the store
            rows = []
        columns = {name.replace("_", " "): [shown(row[name]) for row in rows] for name in (rows[0] if rows else ())}
        counts = {name: sum(row[name] for row in rows) for name in (*COUNTED, "missing")} if rows else {}
        return "all studies", "", columns, totals(counts)
