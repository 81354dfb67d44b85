"""The smallest difference that a study can detect, from the spread of its own runs, or at first of runs like them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from titans_lab.planning.history import Past
from titans_lab.run.comparison import comparison
from titans_lab.run.config import RunConfig
from titans_lab.run.identity import run_facts
from titans_lab.run.run import Run, batches
from titans_lab.stats.power import Detectable, detectable

#: The keys that comparable runs share. Then a seed has the same batches in all of them, and they train for as long.
SHARED = ("data.", "task.", "train.tokens", "train.seq_len", "train.batch_size", "train.schedule")


@dataclass(frozen=True)
class Foreseen(Detectable):
    """The smallest difference that the seeds of a study can detect.

    Attributes:
        own: Whether the spread is that of the study's own runs, as in its report, and not of similar earlier runs.
        metric: The metric, with its unit.
    """

    own: bool
    metric: str


class Size(NamedTuple):
    """The number of arms that are compared with a baseline, and the fewest seeds of one of them."""

    arms: int
    seeds: int


def size_of(runs: Sequence[Run], history: Collection[Past]) -> Size:
    """Return the size of a study's comparison; no arms where nothing is compared. Diverged seeds do not count."""
    _, pairs = _pairs(runs)
    scores = {past.run_id: past.score for past in history}
    counted = _paired(pairs) or pairs
    return Size(len(pairs), min((len(_seeds(base, scores) & _seeds(arm, scores)) for base, arm in counted), default=0))


def foreseen(runs: Sequence[Run], history: Collection[Past], metric: str) -> Foreseen | None:
    """Return the difference that a study can detect, or None without compared arms or pairs of runs in the store.

    Args:
        runs: The runs of the study.
        history: The finished runs of the store.
        metric: The metric of their scores, with its unit.
    """
    base, pairs = _pairs(runs)
    if base is None or not pairs:
        return None
    scores = {past.run_id: past.score for past in history}
    own = [_paired_scores(baseline, arm, scores) for baseline, arm in _paired(pairs)]
    differences = own if any(len(each) > 1 for each in own) else _like(base, history)
    arms, seeds = size_of(runs, history)
    found = detectable(differences, seeds, arms)
    return Foreseen(**vars(found), own=differences is own, metric=metric) if found else None


Pair = tuple[Sequence[Run], Sequence[Run]]  # a baseline and an arm, each with its seeds


def _pairs(runs: Sequence[Run]) -> tuple[Run | None, list[Pair]]:
    """Return a run of the first baseline, and each arm with the baseline that it is compared with."""
    arms: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        arms[repr(run.factors)].append(run)
    members = list(arms.values())
    if not members:
        return None, []
    compared = comparison([each[0] for each in members])
    return members[compared.bases[0]][0], [(members[base], members[arm]) for arm, base in compared.pairs]


def _paired(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose seeds have the same batches."""
    return [(base, arm) for base, arm in pairs if batches(arm[0]) == batches(base[0])]


def _seeds(arm: Sequence[Run], scores: Mapping[str, float | None]) -> set[int]:
    """Return the seeds of an arm that have a score or may still get one."""
    return {run.seed for run in arm if scores.get(run.run_id, 0.0) is not None}


def _paired_scores(base: Sequence[Run], arm: Sequence[Run], scores: Mapping[str, float | None]) -> list[float]:
    known = {run.seed: score for run in base if (score := scores.get(run.run_id)) is not None}
    others = {run.seed: score for run in arm if (score := scores.get(run.run_id)) is not None}
    return [others[seed] - known[seed] for seed in known if seed in others]


def _like(run: Run, history: Iterable[Past]) -> list[list[float]]:
    """Return the differences, by seed, of the arms of earlier runs like `run` to the arm with the most seeds."""
    kind = _kind(run.config, run.data_hash)
    arms: dict[RunConfig, dict[int, float]] = defaultdict(dict)
    for past in history:
        if past.score is not None and _kind(past.config, past.data_hash) == kind:
            arms[past.config][past.seed] = past.score
    if not arms:
        return []
    base = max(arms, key=lambda config: len(arms[config]))
    return [
        [scores[seed] - arms[base][seed] for seed in scores.keys() & arms[base].keys()]
        for config, scores in arms.items()
        if config != base
    ]


def _kind(config: RunConfig, data_hash: str) -> Hashable:
    shared = tuple(item for item in run_facts(config).items() if item[0].startswith(SHARED))
    return data_hash, config.task.name, shared
