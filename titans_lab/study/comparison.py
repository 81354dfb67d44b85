"""Which arms of a study are compared: one rule for `plan`, before anything runs, and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from titans_lab.study.run import Run

ABSENT = ""  # the value of a factor that an arm does without


class Comparison(NamedTuple):
    """The places, among the arms of a study, of the baseline and of the arms that are compared with it."""

    base: int
    others: tuple[int, ...]


def comparison(arms: Sequence[Run]) -> Comparison:
    """Return what is compared with the study's first baseline, or with its first arm where it names no baseline.

    Scores on different tasks, data or splits do not compare. Of several baselines, an arm belongs to the one with
    which it has the most values of factors in common.

    Args:
        arms: A run of each arm, in the order of the study.
    """
    bases = [place for place, run in enumerate(arms) if run.baseline] or [0]
    base = arms[bases[0]]
    keys = dict.fromkeys(key for run in arms for key in run.factors)
    others = []
    for place, run in enumerate(arms):
        shared = [
            sum(run.factors.get(key, ABSENT) == arms[other].factors.get(key, ABSENT) for key in keys) for other in bases
        ]
        if place not in bases and judged_by(run) == judged_by(base) and shared.index(max(shared)) == 0:
            others.append(place)
    return Comparison(bases[0], tuple(others))


def judged_by(run: Run) -> str:
    """Return the task, data and split of a run as text: equal where scores can be compared."""
    return repr((run.config.task.read(), run.data_hash, run.config.data.valid_fraction, run.config.data.valid_bytes))
