"""Racing: a trial of several seeds that is behind stops early, before its last seed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from titans_lab.run.metric import Metric
from titans_lab.search.trial import Trial

FEWEST = 4  # the fewest other trials to compare with


def is_behind(trial: Trial, others: Sequence[Trial], metric: Metric) -> bool:
    """Return whether a trial's mean over its seeds so far is worse than the median of the others' over those seeds.

    Seeds are paired: the first seed of every trial has the same batches, and so on.
    """
    seeds = len(trial.by_seed)
    rivals = [mean_of(other, seeds) for other in others if len(other.by_seed) >= seeds and other is not trial]
    return len(rivals) >= FEWEST and metric.better(median(rivals), mean_of(trial, seeds))


def mean_of(trial: Trial, seeds: int) -> float:
    """Return the mean of the first objective over the first seeds."""
    return sum(values[0] for values in trial.by_seed[:seeds]) / seeds
