"""Decide which arms of a study are compared, for `plan` and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from titans_lab.run.run import Run

ABSENT = ""  # the value of a factor that an arm does not have


class Comparison(NamedTuple):
    """The indices of a study's baselines and of the compared pairs of arms.

    Attributes:
        bases: The arms that others are compared with: several where `baseline` does not set every factor.
        pairs: Each other arm with the baseline that it is compared with, in the order of the study.
    """

    bases: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def comparison(arms: Sequence[Run]) -> Comparison:
    """Return the pairs of arms that are compared with the baselines, or with the first arm where there is no baseline.

    An arm is compared with the baseline with which it has the most values of factors in common. Scores on different
    tasks, data or splits do not compare, nor do scores by another metric than the first baseline's.

    Args:
        arms: A run of each arm, in the order of the study; at least one.
    """
    bases = [place for place, run in enumerate(arms) if run.baseline] or [0]
    metric = arms[bases[0]].config.task.settings.METRIC
    keys = dict.fromkeys(key for run in arms for key in run.factors)

    def shared(run: Run, base: int) -> int:
        return sum(run.factors.get(key, ABSENT) == arms[base].factors.get(key, ABSENT) for key in keys)

    pairs = []
    for place, run in enumerate(arms):
        alike = [base for base in bases if judged_by(arms[base]) == judged_by(run)]
        if place not in bases and alike and metric == run.config.task.settings.METRIC:
            pairs.append((place, max(alike, key=lambda base: shared(run, base))))
    return Comparison(tuple(bases), tuple(pairs))


def judged_by(run: Run) -> str:
    """Return the task, data and split of a run as text: equal where scores can be compared."""
    return repr((run.config.task.read(), run.data_hash, run.config.data.valid_fraction, run.config.data.valid_bytes))
