"""The results in sentences: no more than the seeds support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from titans_lab.quantities import plural
from titans_lab.report import search
from titans_lab.report.arms import Arm, Design, ranked
from titans_lab.report.data import Material
from titans_lab.report.differences import compare_arms
from titans_lab.report.format import join, plus_minus, score
from titans_lab.report.section import Section
from titans_lab.report.verdicts import all_verdicts, comparison_answer
from titans_lab.run.metric import Metric

#: The words for the number of runs in each state, in the order of the sentence.
STATE_WORDS = {
    "done": "done",
    "diverged": "diverged",
    "failed": "failed",
    "oom": "out of memory",
    "timeout": "timed out",
    "cancelled": "cancelled",
    "pruned": "stopped early",
    "lost": "lost (the worker died)",
    "running": "running",
    "pending": "not started",
}


#: States from which a sweep would begin or continue a run.
WAITING = ("pending", "running", "lost", "cancelled", "pruned")
#: States in which a run has come to an end.
ENDED = ("done", "diverged", "failed", "oom", "timeout")


def searched(material: Material) -> bool:
    """Return whether the study's work so far was its search: it has trials, and none of its own runs has begun."""
    begun = any(outcome.result.state != "pending" for outcome in material.outcomes)
    return not begun and bool(search.progress(material))


def progress(material: Material) -> str:
    """Return how many runs are in each state, or how many trials where the study's work was its search."""
    counts = Counter(outcome.result.state for outcome in material.outcomes)
    if not counts:
        return "The study has no runs."
    if searched(material):
        return search.progress(material)
    states = [f"{counts[state]} {words}" for state, words in STATE_WORDS.items() if counts[state]]
    return f"{plural(len(material.outcomes), 'run')}: {join(states, most=len(states))}."


#: Names of the sections that a study may be designed for, the most special design first.
BY_DESIGN = ("search", "scaling", "lengths", "effects")


def answer(material: Material, design: Design, sections: Sequence[Section]) -> str:
    """Return the answer to the study's question.

    The study's design decides: a search is answered by its finalists, a scaling study by its law, one of long inputs by
    the lengths, a factorial study by its effects, and any other by the best arm compared with the baseline. Arms that
    were tuned are answered as the study would be without the search.
    """
    designs = BY_DESIGN[1:] if material.study.tuned else BY_DESIGN
    answers = (each.answer for name in designs for each in sections if each.answer and each.name.startswith(name))
    return next(answers, "") or _comparison(material, design)


def _comparison(material: Material, design: Design) -> str:
    """Return the comparison of the arms with their baselines, or how far the runs are."""
    metric, arms = material.metric, ranked(design.arms, material.metric)
    if not arms:
        ended = [arm for arm in design.arms if arm.count(*ENDED)]
        return f"No run reached a {metric.taken} {metric.name}." if ended else "No run has finished yet."
    compared = compare_arms(design, metric)
    if material.study.kind == "comparison" and len(arms) > 1 and not (compared and compared.testable):
        return _of_single_runs(arms, metric)
    if compared is None:
        return f"{metric.taken.capitalize()} {metric.name} of {arms[0].label}: {_measured(arms[0], metric)}."
    return comparison_answer(compared, metric)


def _of_single_runs(arms: Sequence[Arm], metric: Metric) -> str:
    """Return which of some runs is ahead and by how much, where no test is possible.

    Args:
        arms: The arms with a score, the best first.
        metric: The metric of the scores.
    """
    best, second = arms[0], arms[1]
    assert best.summary
    assert second.summary
    ahead = f"{abs(second.summary.mean - best.summary.mean):.3g} {metric.unit}"
    first = "lowest" if metric.direction == "minimize" else "highest"
    return (
        f"{best.label} has the {first} {metric.taken} {metric.name}, {score(best.summary.mean)} {metric.unit}, {ahead} "
        f"ahead of {second.label}. A verdict needs two seeds of each."
    )


def findings(material: Material, design: Design, sections: Sequence[Section]) -> list[str]:
    """Return the sentences that the verdict rests on: the best mean, the comparisons, the n-gram baselines."""
    waiting = 0 if searched(material) else sum(arm.count(*WAITING) for arm in design.arms)
    interim = f"Interim result: {plural(waiting, 'run')} not finished." if waiting else ""
    metric = material.metric
    arms = ranked(design.arms, metric)
    if not arms and searched(material):
        return [_ngram_baselines(material)]
    if not arms:
        return [interim or f"No run reached a {metric.taken} {metric.name}.", _ngram_baselines(material)]
    best, several = arms[0], len(design.arms) > 1
    first = "Lowest" if metric.direction == "minimize" else "Highest"
    lead = f"{first} mean {metric.name}: {best.label}," if several else f"{metric.taken.capitalize()} {metric.name}:"
    lead += f" {_measured(best, metric)}."
    effects = [sentence for section in sections for sentence in section.findings]
    standing = [*(effects or [all_verdicts(compare_arms(design, metric))]), _without_score(design, metric)]
    tuned = search.chosen(material, design)
    rest = [_given_convergence(best), tuned, interim, _ngram_baselines(material, best)]
    return [lead, *(standing if several else []), *rest]


def _ngram_baselines(material: Material, best: Arm | None = None) -> str:
    """Return the n-gram baselines, and which of them the lowest mean is below."""
    if not material.ngram_baselines:
        return ""
    scores = join([f"{score(ngram.bits_per_byte)} (order {ngram.context})" for ngram in material.ngram_baselines])
    lead = f"N-gram baselines over {material.ngram_baselines[0].symbol}s of the same split reach {scores}."
    if best is None or best.summary is None:
        return lead
    beaten = [ngram for ngram in material.ngram_baselines if best.summary.mean < ngram.bits_per_byte]
    lowest = min(beaten, key=lambda ngram: ngram.bits_per_byte).context if beaten else None
    return f"{lead} The lowest mean is {'above all of them' if lowest is None else f'below that of order {lowest}'}."


def _measured(arm: Arm, metric: Metric) -> str:
    assert arm.summary
    seeds = f"95 % t interval over {arm.summary.n} seeds" if arm.summary.n > 1 else "one seed"
    return f"{plus_minus(arm.summary)} {metric.unit} ({seeds})"


def _without_score(design: Design, metric: Metric) -> str:
    without = [arm.label for arm in design.arms if not arm.summary]
    return (
        f"No seed reached a {metric.taken} {metric.name} in {plural(len(without), 'arm')}: {join(without)}."
        if without
        else ""
    )


def _given_convergence(best: Arm) -> str:
    diverged = best.count("diverged")
    return (
        f"This mean is conditional on convergence: {diverged} of its {len(best.outcomes)} seeds diverged."
        if diverged
        else ""
    )
