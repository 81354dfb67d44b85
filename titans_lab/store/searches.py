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
from collections.abc import Iterator, Mapping, Sequence
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

    def trials(self) -> list[dict[str, Any]]:
        """Return every trial that can be read, in order."""
        found = []
        for path in self.trial_paths():
            with suppress(DamagedError, FileNotFoundError):
                found.append(read_trial(path))
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the search as its only coordinator, after a minute where another machine's may have died.

        Raises:
            AlreadyRunning: Another process holds it.
        """
        folder = self.path / "coordinators"
        numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
        last = max(numbers, default=0)
        before, watch = Claim(folder / str(last) / "claim"), Watch()
        while not watch.over(before):  # a coordinator of another machine lives if its counter moves
            if watch.lives(before):
                raise AlreadyRunning(self.path)
            time.sleep(PAUSE_SECONDS)
        claim = Claim(folder / str(last + 1) / "claim")
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
