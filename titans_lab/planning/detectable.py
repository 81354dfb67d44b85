"""How small a difference a study's seeds will be able to show, by the spread of earlier runs like its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

from titans_lab.planning.history import Past
from titans_lab.planning.novelty import known_facts
from titans_lab.stats.power import pooled_sd, smallest_difference
from titans_lab.study.config import RunConfig

#: What comparable runs share: then a seed has the same batches in all of them, and they are trained for as long.
SHARED = ("data.", "task.", "train.tokens", "train.seq_len", "train.batch_size")


@dataclass(frozen=True)
class Detectable:
    """What the seeds can show.

    Attributes:
        difference: The smallest true one that is found with 80 % power after Holm; None for one seed.
        sd: Standard deviation of paired differences in the earlier runs.
        pairs: Of runs that it comes from.
        seeds: Of the study.
        arms: That are compared with the baseline.
        metric: What differs, with its unit.
    """

    difference: float | None
    sd: float
    pairs: int
    seeds: int
    arms: int
    metric: str


def detectable(wanted: Sequence[Past], baselines: Collection[RunConfig], history: Iterable[Past]) -> Detectable | None:
    """Of a study; None where the store has no two arms with two seeds in common, or the study has one arm.

    Args:
        wanted: The runs of the study.
        baselines: Those of its arms that others are compared with; where a kind of run has none, it is one of its arms.
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
    """Of each arm to the one of its kind that has the most seeds, by seed."""
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
