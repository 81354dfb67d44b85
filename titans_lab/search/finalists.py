"""The best of a search once more, with seeds that it has not seen: its own values are the luckiest of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titans_lab.search.tuning import Tuning
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.store.files import write_json
from titans_lab.study.run import Run, batches

BASE = "base"


@dataclass(frozen=True)
class Candidate:
    """A point that is run with fresh seeds.

    Attributes:
        number: Of the trial; None: the arm as the study itself has it.
        params: Values by dotted key.
        runs: One for each seed.
    """

    number: int | None
    params: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """For people."""
        return BASE if self.number is None else f"trial {self.number}"


@dataclass(frozen=True)
class Final:
    """What a candidate came to.

    Attributes:
        arm: Of the study; "" where it is the only one.
        candidate: Which.
        sample: Of the first objective, by seed; a seed without a result counts as diverged.
        difference: To what it is compared with; None for that itself.
    """

    arm: str
    candidate: Candidate
    sample: Sample
    difference: Difference | None = None

    @property
    def mean(self) -> float | None:
        """Over the seeds that have a value."""
        values = self.sample.values.values()
        return sum(values) / len(values) if values else None


def fresh_seeds(tuning: Tuning) -> range:
    """Seeds that no trial had."""
    terms = tuning.goal.terms
    return range(terms.seeds, terms.seeds + (terms.finalists.seeds if terms.finalists else 0))


def candidates(tuning: Tuning) -> list[Candidate]:
    """The arm's base and the best trials of its search."""
    finalists = tuning.goal.terms.finalists
    if finalists is None:
        return []
    best = tuning.best(finalists.count)[: finalists.count]
    points: list[tuple[int | None, Mapping[str, Any]]] = [(None, {}), *((trial.number, trial.params) for trial in best)]
    seeds = fresh_seeds(tuning)
    return [Candidate(number, params, tuple(tuning.runs(params, seeds))) for number, params in points]


def note(tuning: Tuning, chosen: Sequence[Candidate]) -> None:
    """Write down what is run once more, and by which runs."""
    rows = [
        {"number": each.number, "params": dict(each.params), "seed": run.seed, "run_id": run.run_id}
        for each in chosen
        for run in each.runs
    ]
    write_json(tuning.folder.finalists_path, {"runs": rows})


def finals(tuning: Tuning, chosen: Sequence[Candidate]) -> list[Final]:
    """What the candidates of an arm came to, the trials beside the base."""
    return beside_first(tuning, [Final(tuning.arm.label, each, _sample(tuning, each)) for each in chosen])


def tuned(tunings: Sequence[Tuning], found: Sequence[Sequence[Final]]) -> list[Final]:
    """The best finalist of each arm, beside that of the baseline: the first arm, where the study names none."""
    pairs = [(tuning, best) for tuning, each in zip(tunings, found, strict=True) if (best := _best(tuning, each))]
    pairs.sort(key=lambda pair: not pair[0].arm.base.baseline)
    return beside_first(pairs[0][0], [best for _, best in pairs]) if len(pairs) > 1 else []


def beside_first(tuning: Tuning, found: Sequence[Final]) -> list[Final]:
    """With their differences to the first, paired by seed where their batches are the same."""
    if not found:
        return []
    first, *others = found
    same = batches(first.candidate.runs[0])
    samples = [
        Sample(each.sample.values, each.sample.diverged, batches(each.candidate.runs[0]) == same) for each in others
    ]
    compared = compare(first.sample, samples, lower_is_better=tuning.judge.metrics[0].direction == "minimize")
    plain = Final(first.arm, first.candidate, first.sample)
    return [plain, *(Final(o.arm, o.candidate, o.sample, d) for o, d in zip(others, compared, strict=True))]


def finals_record(study: str, path: str, found: Sequence[Sequence[Final]]) -> dict[str, Any]:
    """What is run once more, as a study of the store: its factors are the arm and the candidate."""
    runs = [
        {"run_id": run.run_id, "factors": {"arm": final.arm, "candidate": final.candidate.name}, "baseline": at == 0}
        for finals in found
        for at, final in enumerate(finals)
        for run in final.candidate.runs
    ]
    words = {"question": "Is the best of the search better with fresh seeds?", "expect": "", "metric": None}
    return {"name": f"{study}.finalists", "path": path, "overrides": [], **words, "runs": runs}


def _best(tuning: Tuning, found: Sequence[Final]) -> Final | None:
    """Of the trials the one with the best mean over fresh seeds that has them all."""
    whole = [each for each in found if each.candidate.number is not None and not each.sample.diverged and each.mean]
    sign = 1 if tuning.judge.metrics[0].direction == "minimize" else -1
    return min(whole, key=lambda each: sign * (each.mean or 0.0), default=None)


def _sample(tuning: Tuning, candidate: Candidate) -> Sample:
    values = {}
    for run in candidate.runs:
        status = tuning.store.run(run.run_id).status()
        found = tuning.judge.values(run.config, status.summary) if status and status.state == "done" else None
        if found is not None:
            values[run.seed] = found[0]
    return Sample(values, len(candidate.runs) - len(values))
