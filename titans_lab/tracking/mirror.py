"""Mirror the runs of a store to a tracker: `python -m titans_lab.tracking.mirror`.

The first line of standard input is JSON with the keys `store`, `study`, `tracker` and `labels`, by run id. Each further
line is the id of a run to follow. When the input ends, the process looks at the runs for the last time, and ends.
"""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from titans.models.config import flatten
from titans_lab.input import open_regular
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import row_of
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store
from titans_lab.tracking.trackers import TrackedRun, Tracker, make

SECONDS = 2.0  # between two looks


class MirroredRun:
    """A run of the store, and how much of it the tracker has."""

    def __init__(self, folder: RunFolder, label: str, tracker: Tracker) -> None:
        self.folder, self.label, self.tracker = folder, label, tracker
        self.tracked: TrackedRun | None = None
        self.attempt: Attempt | None = None
        self.place, self.step, self.over = 0, 0, False

    def look(self, last: bool) -> None:
        """Send what is new. After the `last` look nothing comes."""
        if self.over:
            return
        state = self.folder.state()  # before the lines: then a run that has a result has all of them
        for row in self._rows():
            if self.tracked is None:
                self.tracked = self.tracker.begin(self.folder.run_id, self.label, self._config())
            values = {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
            self.tracked.log(row["step"], values)
            self.step = row["step"]
        if self.tracked and (last or state in FINISHED):
            status = self.folder.status()
            summary = status.summary if status else {}
            self.tracked.end(state, {name: value for name, value in summary.items() if _is_figure(value)})
            self.over = True

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the new whole lines of the latest attempt's metrics, of steps that the tracker does not have."""
        latest = self.folder.latest()
        if latest is None or latest.archived_path.exists():  # a result that is about to be trained again
            return
        if latest != self.attempt:
            self.attempt, self.place = latest, 0
        try:
            with open_regular(latest.metrics_path) as file:
                file.seek(self.place)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.splitlines():
            row = row_of(line)  # None where it is damaged, which every query says
            if row and row["step"] is not None and row["step"] > self.step:
                yield row

    def _config(self) -> dict[str, Any]:
        record = self.folder.record()
        return {**dict(flatten(record["config"])), "seed": record["seed"], "data_hash": record["data_hash"]}


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass
class Orders:
    """What the sweep asks for: the runs to follow, and the end."""

    run_ids: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def read(self, lines: Iterable[str]) -> None:
        """Read a run id from each line, until the lines end."""
        for line in lines:
            self.run_ids.append(line.strip())
        self.over.set()


def mirror(store: Store, labels: Mapping[str, str], tracker: Tracker, orders: Orders) -> None:
    """Mirror the runs that the orders name until the orders end, and once after that."""
    followed: dict[str, MirroredRun] = {}
    last = False
    while not last:
        last = orders.over.wait(SECONDS)
        for run_id in orders.run_ids[len(followed) :]:
            followed[run_id] = MirroredRun(store.run(run_id), labels[run_id], tracker)
        for run in followed.values():
            run.look(last)


def main() -> None:
    """Mirror what standard input asks for. A failure is one line and exit code 1."""
    asked, orders = json.loads(sys.stdin.readline()), Orders()
    threading.Thread(target=orders.read, args=(sys.stdin,), daemon=True).start()
    store, name = Store(Path(asked["store"])), asked["tracker"]
    try:
        mirror(store, asked["labels"], make(name, store.tracking_folder(name), asked["study"]), orders)
    except Exception as error:  # whatever a tracker raises: the sweep says it in a line
        raise SystemExit(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    main()
