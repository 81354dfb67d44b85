"""The records of a search: one small file per trial, from which the sampler's state can be rebuilt at any time.

searches/<name>/search.json                 definition: study, arm, space, sampler, objectives
searches/<name>/coordinators/<n>/claim      held by the coordinator of the search
searches/<name>/trials/<n>.json             a trial, written when it begins and again when it has ended
searches/<name>/finalists.json              the finalists and their runs with fresh seeds
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.store.claims import AlreadyRunning, Claim, Holder, Watch
from titans_lab.store.files import DamagedError, write_json
from titans_lab.store.records import read_trial

PAUSE_SECONDS = 1.0
TUNED = ".tuned"


def tuned_name(study: str) -> str:
    """Return the name under which the tuned arms of a study are recorded, as a study of their own."""
    return f"{study}{TUNED}"


@dataclass(frozen=True)
class SearchFolder:
    """The records of one search, which has one arm of a study, one space and one sampler."""

    path: Path

    @property
    def name(self) -> str:
        """Return the name of the search."""
        return self.path.name

    @property
    def definition_path(self) -> Path:
        """Return the path of the definition."""
        return self.path / "search.json"

    @property
    def finalists_path(self) -> Path:
        """Return the path of the finalists."""
        return self.path / "finalists.json"

    def trial_path(self, number: int) -> Path:
        """Return the path of a trial."""
        return self.path / "trials" / f"{number}.json"

    def trial_paths(self) -> list[Path]:
        """Return the paths of all trials, in order."""
        paths = (self.path / "trials").glob("*.json")
        return sorted((path for path in paths if path.stem.isdecimal()), key=lambda path: int(path.stem))

    def create(self, definition: Mapping[str, Any]) -> None:
        """Write the definition, with the keys study, arm, question, space, sampler, pruner, objectives and seeds."""
        self.trial_path(0).parent.mkdir(parents=True, exist_ok=True)
        write_json(self.definition_path, definition)

    def save_trial(self, record: Mapping[str, Any]) -> None:
        """Write a trial over its earlier record. Its keys are those of the view `trials` and the sampler's own."""
        write_json(self.trial_path(record["number"]), record)

    def trials(self, known: Collection[int] = ()) -> list[dict[str, Any]]:
        """Return every trial that can be read, in order, but for those whose numbers are in `known`."""
        found = []
        for path in (path for path in self.trial_paths() if int(path.stem) not in known):
            with suppress(DamagedError, FileNotFoundError):
                found.append(read_trial(path))
        return found

    @property
    def last_coordinator(self) -> int:
        """Return the number of the last coordinator, from 1, or 0 where there was none."""
        numbers = [int(path.name) for path in (self.path / "coordinators").glob("*") if path.name.isdecimal()]
        return max(numbers, default=0)

    @property
    def coordinator(self) -> Claim:
        """Return the claim of the last coordinator, which need not exist."""
        return self._claim(self.last_coordinator)

    def _claim(self, number: int) -> Claim:
        return Claim(self.path / "coordinators" / str(number) / "claim")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the search as its only coordinator, after a minute where another machine's may have died.

        Raises:
            AlreadyRunning: Another process holds it.
        """
        last, watch = self.last_coordinator, Watch()
        before = self._claim(last)
        while not watch.over(before):  # a coordinator of another machine lives if its counter moves
            if watch.lives(before):
                raise AlreadyRunning(self.path)
            time.sleep(PAUSE_SECONDS)
        claim = self._claim(last + 1)
        claim.take(Holder.of(os.getpid()))
        with claim.kept():
            yield


def trial_row(record: Mapping[str, Any], objectives: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the view `trials` that a trial's record decides."""
    values = record.get("values") or []
    limits = record["limits"]
    return {
        **record,
        "feasible": record["state"] == "done" and all(excess <= 0 for excess in limits.values()),
        "value": values[0] if values else None,
        "params": json.dumps(record["params"]),
        "objectives": json.dumps(dict(zip(objectives, values, strict=False))),
        "run_ids": json.dumps(record["runs"]),
        "reports": json.dumps(record["reports"]),
        "limits": json.dumps(limits),
    }
