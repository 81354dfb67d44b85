"""Find the fields in which a new run differs from the nearest run in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from titans_lab.planning.history import Past
from titans_lab.run.identity import run_facts
from titans_lab.run.values import short
from titans_lab.stats.nearest import nearest

ABSENT = "absent"  # the value of a field that only the other run reads, or that is at its neutral value
SHOWN_DIGITS = 8  # of a hash, in words


@dataclass(frozen=True)
class Novelty:
    """The respects in which a run differs from all finished runs.

    Attributes:
        nearest: The id of the run in the store that differs in the fewest fields, and has the same task if one does.
        fields: The value there and here of each field that differs, by dotted key. "seed", "data" (the hash of its
            content) and "version of ..." are fields, too.
    """

    nearest: str
    fields: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """Name the fields that both runs read; if no such field differs, all of them."""
        both = {key: pair for key, pair in self.fields.items() if ABSENT not in pair} or self.fields
        return ", ".join(f"{short(key)} {_short(there)} -> {_short(here)}" for key, (there, here) in both.items())


def novelties(wanted: Sequence[Past], known: Sequence[Past]) -> list[Novelty | None]:
    """Return what is new about each of the `wanted` runs, or None where the store has no run."""
    found: list[Novelty | None] = [None] * len(wanted)
    tasks = {run.config.task.name for run in known}
    for task in {run.config.task.name for run in wanted}:
        near = [run for run in known if run.config.task.name == task or task not in tasks]
        places = [place for place, run in enumerate(wanted) if run.config.task.name == task]
        for place, novelty in zip(places, _against([wanted[place] for place in places], near), strict=False):
            found[place] = novelty
    return found


def _against(wanted: Sequence[Past], known: Sequence[Past]) -> Iterator[Novelty]:
    if not known:
        return
    ours, theirs = [_fields(run) for run in wanted], [_fields(run) for run in known]
    codes = _codes([*ours, *theirs])
    for run, place in zip(ours, nearest(codes[: len(ours)], codes[len(ours) :]), strict=True):
        yield Novelty(known[place].run_id, _differing(theirs[place], run))


def _fields(run: Past) -> dict[str, Any]:
    """Return all that decides a run's id, by name."""
    about = {"seed": run.seed, "data": run.data_hash} | ({"parent": run.parent} if run.parent else {})
    return about | {f"version of {part}": number for part, number in run.versions.items()} | run_facts(run.config)


def _codes(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return a number for each value of each field: `[rows, fields]`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = np.zeros((len(rows), len(names)), dtype=np.int64)
    for column, name in enumerate(names):
        seen: dict[Any, int] = {}
        columns[:, column] = [seen.setdefault(row.get(name, ABSENT), len(seen)) for row in rows]
    return columns


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys((*here, *there))
    pairs = {name: (there.get(name, ABSENT), here.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _short(value: Any) -> str:
    text = str(value)
    return text[:SHOWN_DIGITS] if len(text) == 64 else text
