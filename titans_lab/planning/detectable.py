"""The smallest difference that a study's seeds can detect, from the spread of earlier runs like its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

from titans_lab.planning.history import Past
from titans_lab.planning.novelty import known_facts
from titans_lab.stats.power import pooled_sd, smallest_difference
from titans_lab.study.config import RunConfig

#: The keys that comparable runs share. Then a seed has the same batches in all of them, and they train for as long.
SHARED = ("data.", "task.", "train.tokens", "train.seq_len", "train.batch_size")


@dataclass(frozen=True)
class Detectable:
    """What the seeds of a study can detect.

    Attributes:
        difference: The smallest true difference that is detected with 80 % power after Holm; None for one seed.
        sd: The standard deviation of paired differences in the earlier runs.
        pairs: The number of pairs of runs that it comes from.
        seeds: The number of seeds of the study.
        arms: The number of arms that are compared with the baseline.
        metric: The metric, with its unit.
    """

    difference: float | None
    sd: float
    pairs: int
    seeds: int
    arms: int
    metric: str


def detectable(wanted: Sequence[Past], baselines: Collection[RunConfig], history: Iterable[Past]) -> Detectable | None:
    """Return what a study can detect; None where it has one arm, or the store no two arms with two seeds in common.

    Args:
        wanted: The runs of the study.
        baselines: The arms that others are compared with. A kind of run without one is compared with one of its arms.
        history: The finished runs.
    """
    scored = [past for past in history if past.score is not None]
    if not scored:
        return None
    kind = _kind(wanted[0])  # a report compares arms of one kind with each other
    wanted = [run for run in wanted if _kind(run) == kind]
    configs = {run.config for run in wanted}
    arms = len(configs) - max(1, len(configs.intersection(baselines)))
    differences = _differences(past for past in scored if _kind(past) == kind)
    sd = pooled_sd(differences)
    if not sd or arms < 1:
        return None
    seeds = len({run.seed for run in wanted})
    metric = wanted[0].config.task.settings.METRIC.label
    return Detectable(smallest_difference(sd, seeds, arms), sd, sum(map(len, differences)), seeds, arms, metric)


def _differences(history: Iterable[Past]) -> list[list[float]]:
    """Return the differences, by seed, of each arm to the arm of its kind with the most seeds."""
    kinds: dict[Hashable, dict[Hashable, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for past in history:
        assert past.score is not None
        kinds[_kind(past)][past.config][past.seed] = past.score
    found = []
    for arms in kinds.values():
        base = max(arms, key=lambda config: len(arms[config]))
        for config, scores in arms.items():
            if config != base:
                found.append([scores[seed] - arms[base][seed] for seed in scores.keys() & arms[base].keys()])
    return [each for each in found if len(each) > 1]


def _kind(run: Past) -> Hashable:
    shared = tuple(item for item in known_facts(run.config).items() if item[0].startswith(SHARED))
    return run.data_hash, run.config.task.name, shared
