"""Summarize the results of a search as plain data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from titans_lab.run.values import show
from titans_lab.search.coordinator import Coordinator
from titans_lab.search.finalists import FinalResult, tuned
from titans_lab.search.tuning import Tuning
from titans_lab.stats.importance import importances
from titans_lab.study.terms import Dimension

SHOWN = 5  # the number of best trials
NEAR = 0.05  # share of a range; a best value that is nearer to an end suggests an optimum beyond it
BEGUN = ("done", "pruned", "stopped", "diverged")


def summary(coordinator: Coordinator) -> dict[str, Any]:
    """Return the results of the search of each arm, and the tuned arms compared with fresh seeds."""
    found = [arm_summary(tuning) for tuning in coordinator.tunings]
    for each, results in zip(found, coordinator.finals, strict=False):
        each["finalists"] = [final_row(result) for result in results]
    between = tuned(coordinator.tunings, coordinator.finals) if coordinator.finals else []
    return {"searches": found, "tuned_arms": [final_row(result) for result in between]}


def arm_summary(tuning: Tuning) -> dict[str, Any]:
    """Return the results of the search of an arm, without its finalists."""
    trials = list(tuning.trials.values())
    begun = [trial for trial in trials if trial.state in BEGUN and trial.origin != "store"]
    judged = [trial for trial in begun if trial.state != "diverged"]  # a trial that diverged has saved nothing
    done = [trial for trial in trials if trial.state == "done" and trial.values]
    best = tuning.best(SHOWN)
    steps, planned = (sum(getattr(trial, name) for trial in judged) for name in ("steps", "planned"))
    return {
        "search": tuning.goal.name,
        "arm": tuning.arm.label,
        "objectives": [{"name": metric.name, "direction": metric.direction} for metric in tuning.judge.metrics],
        "states": dict(Counter(trial.state for trial in trials)),
        "overrides": overrides(best[0].params) if best else [],
        "at_edge": edges(best[0].params, tuning.goal.terms.space) if best else {},
        "best": [trial.plain() for trial in best],
        "importance": importances([t.params for t in done], [t.values[0] for t in done if t.values]),
        "steps": steps,
        "planned_steps": planned,
        "finalists": [],
    }


def overrides(params: Mapping[str, Any]) -> list[str]:
    """Return a point as overrides of the command line."""
    return [f"{key}={value if isinstance(value, str) else show(value)}" for key, value in params.items()]


def edges(params: Mapping[str, Any], space: Sequence[Dimension]) -> dict[str, float]:
    """Return the end of the range of each parameter that lies within `NEAR` of it, on the scale that is searched."""
    found: dict[str, float] = {}
    for dimension in space:
        value = params.get(dimension.key)
        if dimension.kind == "choice":
            found |= _edge_of_choice(dimension, value)
        if dimension.kind == "choice" or value is None:
            continue
        low, high, here = (math.log(each) if dimension.log else each for each in (dimension.low, dimension.high, value))
        for end, place in ((dimension.low, low), (dimension.high, high)):
            if abs(here - place) <= NEAR * (high - low):
                found[dimension.key] = end
    return found


def _edge_of_choice(dimension: Dimension, value: Any) -> dict[str, float]:
    """Return the value where it is the least or the greatest of several numbers to choose from."""
    numbers = [each for each in dimension.values or () if type(each) in (int, float)]
    at_end = len(numbers) == len(dimension.values or ()) > 2 and value in (min(numbers), max(numbers))
    return {dimension.key: value} if at_end else {}


def final_row(result: FinalResult) -> dict[str, Any]:
    """Return the result of a finalist."""
    difference, sample = result.difference, result.sample
    return {
        "arm": result.arm,
        "candidate": result.candidate.name,
        "params": dict(result.candidate.params),
        "seeds": len(result.candidate.runs),
        "without_result": sample.diverged,
        "mean": result.mean,
        "difference": difference and difference.mean,
        "half_width": difference and difference.half_width,
        "p_adjusted": difference and difference.adjusted,
        "verdict": difference and difference.verdict,
        "run_ids": [run.run_id for run in result.candidate.runs],
    }
