"""Run the best trials of a search with fresh seeds, since a search's own values are the luckiest of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from titans_lab.run.run import Run, batches
from titans_lab.search.tuning import Tuning
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.store.files import write_json
from titans_lab.store.searches import tuned_name
from titans_lab.study.study import Study

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


def candidates(tuning: Tuning) -> list[Candidate]:
    """Return the arm's base, where the study wants it, and the best trials of its search, best first."""
    finalists = tuning.goal.terms.finalists
    if finalists is None:
        return []
    points: list[tuple[int | None, Mapping[str, Any]]] = [(None, {})] if finalists.base else []
    points += [(trial.number, trial.params) for trial in tuning.best(finalists.count)[: finalists.count]]
    return [Candidate(number, params, tuple(tuning.final_runs(params))) for number, params in points]


def note(tuning: Tuning, chosen: Sequence[Candidate]) -> None:
    """Record which points run with fresh seeds, by which runs, and which coordinator has chosen them."""
    rows = [
        {"number": each.number, "params": dict(each.params), "seed": run.seed, "run_id": run.run_id}
        for each in chosen
        for run in each.runs
    ]
    write_json(tuning.folder.finalists_path, {"runs": rows, "coordinator": tuning.folder.last_coordinator})


def finals(tuning: Tuning, chosen: Sequence[Candidate]) -> list[FinalResult]:
    """Return the results of an arm's candidates, with the trials compared with the base."""
    return beside_first(tuning, [FinalResult(tuning.arm.label, each, _sample(tuning, each)) for each in chosen])


def tuned(tunings: Sequence[Tuning], found: Sequence[Sequence[FinalResult]]) -> list[FinalResult]:
    """Return the best trial of each arm, compared with the baseline's, or the first arm's where the study names none.

    The best trial is the one that the search found on the validation part: nothing is chosen on the fresh seeds.
    """
    pairs = [
        (tuning, first)
        for tuning, each in zip(tunings, found, strict=True)
        if (first := next((result for result in each if result.candidate.number is not None), None))
        and first.sample.values
    ]
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


def tuned_record(study: Study, tunings: Sequence[Tuning], chosen: Sequence[Sequence[Candidate]]) -> dict[str, Any]:
    """Return the record of the study of the tuned arms: each arm at the best point of its search, with fresh seeds.

    It has the factors, the baseline and the metric of the study, so that it is reported as the study itself would be.
    """
    runs = []
    for tuning, candidates in zip(tunings, chosen, strict=True):
        best = next((each for each in candidates if each.number is not None), None)
        runs += [replace(run, factors=tuning.arm.base.factors) for run in (best.runs if best else ())]
    return study.record(runs) | {"name": tuned_name(study.variant)}


def _sample(tuning: Tuning, candidate: Candidate) -> Sample:
    values = {}
    for run in candidate.runs:
        status = tuning.store.run(run.run_id).status()
        found = tuning.judge.tested(run.config, status.summary) if status and status.state == "done" else None
        if found is not None:
            values[run.seed] = found[0]
    return Sample(values, len(candidate.runs) - len(values))
