"""Say in sentences which arms differ from their baseline, by how much, and what limits the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from titans_lab.quantities import plural
from titans_lab.report import format as shown
from titans_lab.report.differences import ArmDifference, ComparedArms
from titans_lab.run.metric import Metric

VERDICTS = ("better", "worse", "inconclusive")


def comparison_answer(compared: ComparedArms, metric: Metric) -> str:
    """Return the answer of a comparison: the best arm with its difference, or the detectable difference."""
    if not compared.testable:
        return f"No test is possible: a comparison with the {compared.base} needs at least two seeds of each arm."
    better, worse, open_ = (compared.with_verdict(verdict) for verdict in VERDICTS)
    if len(compared.pairs) == 1 or not (better or worse):
        lead = _only(compared, metric) if len(compared.pairs) == 1 else _none(compared)
        power = power_sentence(compared.detectable, compared.fewest, metric) if open_ else ""
        return " ".join(filter(None, [lead, power]))
    return " ".join(filter(None, [_best(better, compared, metric), _counted(compared)]))


def power_sentence(difference: float | None, seeds: int, metric: Metric) -> str:
    """Return which difference a number of seeds would have found; "" where that is unknown."""
    if difference is None:
        return ""
    found = f"{difference:.3g} {metric.unit}"
    return f"At {plural(seeds, 'seed')} a difference of {found} would be found with 80 % power."


def all_verdicts(compared: ComparedArms | None) -> str:
    """Return the verdicts with the names of the arms, and what limits them; "" without a test."""
    if compared is None or not compared.testable:
        return ""
    labels = {verdict: [pair.arm.label for pair in compared.with_verdict(verdict)] for verdict in VERDICTS}
    verdicts = "; ".join(f"{verdict}: {shown.join(each)}" for verdict, each in labels.items() if each)
    tests = f"t tests at 5 %, Holm-adjusted over {_arms(compared)}"
    said = f"Compared with the {compared.base}{_at_same(compared)}, {verdicts} ({tests})."
    return " ".join([said, *_limits(compared)])


def _only(compared: ComparedArms, metric: Metric) -> str:
    (pair,) = compared.pairs
    if pair.found.verdict == "inconclusive":
        lead = f"{pair.arm.label} does not differ significantly from the {compared.base}"
    else:
        lead = f"{pair.arm.label} is {pair.found.verdict} than the {compared.base}"
    return f"{lead}: {_measured(pair, metric)}."


def _none(compared: ComparedArms) -> str:
    counts = sorted({pair.found.seeds for pair in compared.pairs})
    seeds = plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return f"No arm differs significantly from the {compared.base} at {seeds}."


def _best(better: Sequence[ArmDifference], compared: ComparedArms, metric: Metric) -> str:
    """Return the arm with the largest difference among the better ones, in one sentence."""
    if not better:
        return f"No arm is better than the {compared.base}."
    best = max(better, key=lambda pair: abs(pair.found.mean or 0.0))
    return f"The best arm, {best.arm.label}, is better than the {compared.base}: {_measured(best, metric)}."


def _counted(compared: ComparedArms) -> str:
    counts = {verdict: len(compared.with_verdict(verdict)) for verdict in VERDICTS}
    said = [f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in counts.items() if count]
    return f"Of {_arms(compared)} compared, {shown.join(said)}."


def _measured(pair: ArmDifference, metric: Metric) -> str:
    found, seeds = pair.found, plural(pair.found.seeds, "seed")
    if found.mean is None:
        return "no seed has a value for both"
    tested = [] if found.adjusted is None else [f"p {shown.p_value(found.adjusted)}"]
    return shown.with_interval(found.mean, found.half_width, metric.unit, *tested, seeds)


def _arms(compared: ComparedArms) -> str:
    return plural(len(compared.pairs), "arm")


def _at_same(compared: ComparedArms) -> str:
    """Return a phrase with the factors that an arm shares with its baseline, or "" for a single baseline."""
    bases = {pair.base for pair in compared.pairs}
    if len(bases) < 2:
        return ""
    names = [name for name in compared.pairs[0].base.factors if len({repr(base.factors[name]) for base in bases}) > 1]
    return f" at the same {shown.join(names)}"


def _limits(compared: ComparedArms) -> Iterator[str]:
    """Yield a sentence for each kind of missing comparison: diverged seeds, or arms without a baseline."""
    if diverged := [pair.arm.label for pair in compared.pairs if pair.found.diverged]:
        yield f"An arm with a diverged seed is never called better: {shown.join(diverged)}."
    if bases := dict.fromkeys(pair.base.label for pair in compared.pairs if pair.found.base_diverged):
        yield f"A baseline has a diverged seed, so no arm is called worse than it: {shown.join(list(bases))}."
    if compared.not_compared:
        left = plural(compared.not_compared, "arm")
        yield f"Not compared, without a baseline on the same task and data: {left}."
