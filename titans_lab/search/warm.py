"""A warm start: the points of a search whose runs the store has already, from whichever study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from titans_lab.errors import UserError
from titans_lab.run.config import flatten
from titans_lab.run.run import Run
from titans_lab.search.tuning import Tuning
from titans_lab.store.folder import RunFolder
from titans_lab.store.store import Store


def known_points(tuning: Tuning) -> Iterator[tuple[dict[str, Any], list[Run]]]:
    """Yield each point that has a finished run for every seed, with these runs.

    A run matches if the search would give it the same id, so that everything that is not searched is the same, too.
    """
    done = {folder.run_id: params for folder, params in _candidates(tuning)}
    told: list[dict[str, Any]] = []
    for run_id, params in done.items():
        with suppress(UserError):  # the study would not try this point
            runs = tuning.runs(params)
            ids = {run.run_id for run in runs}
            if params not in told and run_id in ids and ids <= done.keys():
                told.append(params)
                yield params, runs


def _candidates(tuning: Tuning) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    for folder in _done(tuning.store):
        try:
            record = folder.record()
        except UserError:  # `doctor` names the damaged record
            continue
        if record.get("data_hash") == tuning.data_hash:
            params = tuning.goal.point_of(dict(flatten(record.get("config") or {})))
            if params is not None:
                yield folder, params


def _done(store: Store) -> Iterator[RunFolder]:
    for folder in store.folders():
        status = folder.status()
        if status and status.state == "done":
            yield folder
