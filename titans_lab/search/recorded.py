"""The trials that the store has of a search, each compared with the search: a record may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Collection

from titans_lab.errors import UserError
from titans_lab.search.proposer import KEPT, Goal
from titans_lab.search.trial import Trial
from titans_lab.store.searches import SearchFolder


def recorded(goal: Goal, folder: SearchFolder, known: Collection[int] = ()) -> list[Trial]:
    """Return every trial of a search that can be read, in order, but for those whose numbers are in `known`.

    Raises:
        UserError: A trial does not belong to this search. It is not left out, since a new trial would take its number.
    """
    trials = [Trial.of(record) for record in folder.trials(known)]
    for trial in trials:
        if wrong := _wrong(goal, trial):
            path = folder.trial_path(trial.number)
            raise UserError(f"{path}: is not a trial of this search: {wrong}; move the file out of the store")
    return trials


def _wrong(goal: Goal, trial: Trial) -> str | None:
    """Return the reason why a trial does not fit the search, or None."""
    results = [*trial.by_seed, *(result for result in (trial.values, trial.told) if result is not None)]
    if not trial.params.keys() <= {dimension.key for dimension in goal.terms.space}:
        return "params has keys that are not in search.space"
    if goal.point_of(trial.params) != trial.params:
        return "params is not a point of search.space"
    if any(len(result) != len(goal.directions) or any(map(math.isnan, result)) for result in results):
        return "values, told and by_seed need one number for each objective"
    if trial.state == "done" and not trial.values:
        return "it is done, and has no values"
    if trial.running and (trial.ended or not len(trial.by_seed) < len(trial.runs) == goal.terms.seeds):
        return "it is running, but has ended or lacks a run for some seed"
    if not all(KEPT.fullmatch(key) and type(value) in (int, float) for key, value in trial.attributes.items()):
        return "attributes has a value that no sampler and no pruner keeps"
    return None
