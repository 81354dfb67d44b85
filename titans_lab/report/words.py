"""What happened, in sentences: no more than a few seeds can carry."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material
from titans_lab.report.format import join, loss, plural, plus_minus

#: How a number of runs in each state is told, in the order of telling.
TOLD = {
    "done": "done",
    "diverged": "diverged",
    "failed": "failed",
    "oom": "ran out of memory",
    "timeout": "ran out of time",
    "cancelled": "cancelled",
    "lost": "lost with their worker",
    "running": "still running",
    "pending": "not yet run",
}


def progress(material: Material) -> str:
    """How many runs came to what."""
    counts = Counter(outcome.result.state for outcome in material.outcomes)
    if not counts:
        return "The study has no runs."
    told = [f"{counts[state]} {words}" for state, words in TOLD.items() if counts[state]]
    same = material.study.combinations - len(material.outcomes)
    note = f" ({plural(same, 'more combination')} would be the same as one of them)" if same else ""
    return f"{plural(len(material.outcomes), 'run')}{note}: {join(told, most=len(told))}."


def findings(material: Material, design: Design) -> list[str]:
    """Which arm has the lowest mean, and how far the seeds carry that: no test is made, so none is claimed."""
    ranked = sorted((arm.summary.mean, index) for index, arm in enumerate(design.arms) if arm.summary)
    waiting = sum(arm.count("pending", "running", "lost") for arm in design.arms)
    interim = f"Interim: {plural(waiting, 'run')} still to come." if waiting else ""
    if not ranked:
        return [interim or "No run reached a final loss.", _floors(material)]
    best, *others = (design.arms[index] for _, index in ranked)
    lead = (
        f"Lowest mean: {best.label}, {_measured(best)}." if len(design.arms) > 1 else f"Final loss: {_measured(best)}."
    )
    return [lead, _standing(best, others, design), _given_convergence(best), interim, _floors(material, ranked[0][0])]


def _floors(material: Material, lowest: float = math.inf) -> str:
    """The byte models that count, and which of them the lowest mean is below."""
    if not material.floors:
        return ""
    told = join([f"{loss(floor.bits_per_byte)} ({floor.name})" for floor in material.floors])
    lead = f"For scale, models that count bytes reach {told} on the same split"
    if lowest == math.inf:
        return f"{lead}."
    beaten = [floor for floor in material.floors if lowest < floor.bits_per_byte]
    best = min(beaten, key=lambda floor: floor.bits_per_byte).name if beaten else None
    return f"{lead}; the lowest mean is below {f'the {best}' if best else 'none of them'}."


def _measured(arm: Arm) -> str:
    assert arm.summary
    seeds = f"95 % t interval over {arm.summary.n} seeds" if arm.summary.n > 1 else "one seed"
    return f"{plus_minus(arm.summary)} bits per byte ({seeds})"


def _standing(best: Arm, others: Sequence[Arm], design: Design) -> str:
    assert best.summary
    rivals = [arm for arm in others if arm.summary and best.summary.overlaps(arm.summary)]
    if len(design.arms) == 1:
        return ""
    if not others:
        return "No other arm has a final loss to compare it with."
    if best.summary.n == 1:
        return "Inconclusive: one seed has no interval."
    if rivals:
        return f"Inconclusive: that interval overlaps those of {join([arm.label for arm in rivals])}."
    return (
        "That interval is apart from every other arm's; they are not adjusted for their number, and no test was made."
    )


def _given_convergence(best: Arm) -> str:
    diverged = best.count("diverged")
    return f"This is given convergence: {diverged} of its {len(best.outcomes)} seeds diverged." if diverged else ""
