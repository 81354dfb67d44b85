"""Run the best trials of a search with fresh seeds, since a search's own values are the luckiest of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titans_lab.run.run import Run, batches
from titans_lab.search.tuning import Tuning
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.store.files import write_json

BASE = "base"


@dataclass(frozen=True)
class Candidate:
    """A point that runs with fresh seeds.

    Attributes:
        number: The number of the trial. None: the arm as the study itself has it.
        params: The values of the search, by dotted key.
        runs: A run for each seed.
    """

    number: int | None
    params: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Return the name in tables."""
        return BASE if self.number is None else f"trial {self.number}"


@dataclass(frozen=True)
class FinalResult:
    """The result of a candidate.

    Attributes:
        arm: The arm of the study; "" where it is the only one.
        candidate: The candidate.
        sample: The first objective by seed. A seed without a result counts as diverged.
        difference: The difference to the candidate that it is compared with; None for that one itself.
    """

    arm: str
    candidate: Candidate
    sample: Sample
    difference: Difference | None = None

    @property
    def mean(self) -> float | None:
        """Return the mean over the seeds that have a value."""
        values = self.sample.values.values()
        return sum(values) / len(values) if values else None


def fresh_seeds(tuning: Tuning) -> range:
    """Return seeds that no trial used."""
    terms = tuning.goal.terms
    return range(terms.seeds, terms.seeds + (terms.finalists.seeds if terms.finalists else 0))


def candidates(tuning: Tuning) -> list[Candidate]:
    """Return the arm's base and the best trials of its search."""
    finalists = tuning.goal.terms.finalists
    if finalists is None:
        return []
    best = tuning.best(finalists.count)[: finalists.count]
    points: list[tuple[int | None, Mapping[str, Any]]] = [(None, {}), *((trial.number, trial.params) for trial in best)]
    seeds = fresh_seeds(tuning)
    return [Candidate(number, params, tuple(tuning.runs(params, seeds))) for number, params in points]


def note(tuning: Tuning, chosen: Sequence[Candidate]) -> None:
    """Record which points run with fresh seeds, and by which runs."""
    rows = [
        {"number": each.number, "params": dict(each.params), "seed": run.seed, "run_id": run.run_id}
        for each in chosen
        for run in each.runs
    ]
    write_json(tuning.folder.finalists_path, {"runs": rows})


def finals(tuning: Tuning, chosen: Sequence[Candidate]) -> list[FinalResult]:
    """Return the results of an arm's candidates, with the trials compared with the base."""
    return beside_first(tuning, [FinalResult(tuning.arm.label, each, _sample(tuning, each)) for each in chosen])


def tuned(tunings: Sequence[Tuning], found: Sequence[Sequence[FinalResult]]) -> list[FinalResult]:
    """Return each arm's best finalist, compared with the baseline's, or the first arm's where the study names none."""
    pairs = [(tuning, best) for tuning, each in zip(tunings, found, strict=True) if (best := _best(tuning, each))]
    pairs.sort(key=lambda pair: not pair[0].arm.base.baseline)
    return beside_first(pairs[0][0], [best for _, best in pairs]) if len(pairs) > 1 else []


def beside_first(tuning: Tuning, found: Sequence[FinalResult]) -> list[FinalResult]:
    """Add the differences to the first result, paired by seed where the batches are the same."""
    if not found:
        return []
    first, *others = found
    same = batches(first.candidate.runs[0])
    samples = [
        Sample(each.sample.values, each.sample.diverged, batches(each.candidate.runs[0]) == same) for each in others
    ]
    compared = compare(first.sample, samples, lower_is_better=tuning.judge.metrics[0].direction == "minimize")
    plain = FinalResult(first.arm, first.candidate, first.sample)
    return [plain, *(FinalResult(o.arm, o.candidate, o.sample, d) for o, d in zip(others, compared, strict=True))]


def finals_record(study: str, path: str, found: Sequence[Sequence[FinalResult]]) -> dict[str, Any]:
    """Return the finalists' runs as the record of a study, whose factors are the arm and the candidate."""
    runs = [
        {"run_id": run.run_id, "factors": {"arm": final.arm, "candidate": final.candidate.name}, "baseline": at == 0}
        for finals in found
        for at, final in enumerate(finals)
        for run in final.candidate.runs
    ]
    words = {"question": "Is the best of the search better with fresh seeds?", "expect": "", "metric": None}
    return {"name": f"{study}.finalists", "path": path, "overrides": [], **words, "runs": runs}


def _best(tuning: Tuning, found: Sequence[FinalResult]) -> FinalResult | None:
    """Return the result with the best mean among the trials that have all of the fresh seeds."""
    whole = [each for each in found if each.candidate.number is not None and not each.sample.diverged and each.mean]
    sign = 1 if tuning.judge.metrics[0].direction == "minimize" else -1
    return min(whole, key=lambda each: sign * (each.mean or 0.0), default=None)


def _sample(tuning: Tuning, candidate: Candidate) -> Sample:
    values = {}
    for run in candidate.runs:
        status = tuning.store.run(run.run_id).status()
        found = tuning.judge.tested(run.config, status.summary) if status and status.state == "done" else None
        if found is not None:
            values[run.seed] = found[0]
    return Sample(values, len(candidate.runs) - len(values))
