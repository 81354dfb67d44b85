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

UNTESTED = (
    "Intervals are not adjusted for the number of arms, and the differences between paired seeds were not tested."
)


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
    waiting = sum(arm.count("pending", "running", "lost", "cancelled") for arm in design.arms)
    interim = f"Interim: {plural(waiting, 'run')} still to come." if waiting else ""
    ranked = sorted((arm.summary.mean, index) for index, arm in enumerate(design.arms) if arm.summary)
    if not ranked:
        return [interim or "No run reached a final loss.", _floors(material)]
    best, *others = (design.arms[index] for _, index in ranked)
    several = len(design.arms) > 1
    lead = f"Lowest mean: {best.label}, {_measured(best)}." if several else f"Final loss: {_measured(best)}."
    standing = [_standing(best, others), _without_loss(design)] if several else []
    return [lead, *standing, _given_convergence(best), interim, _floors(material, ranked[0][0])]


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


def _standing(best: Arm, others: Sequence[Arm]) -> str:
    if not others:
        return "There is no other arm's loss to compare it with."
    doubts = _doubts(best, others)
    if doubts:
        return f"Not settled by these intervals: {join(doubts)}. {UNTESTED}"
    return f"That interval is apart from all others. {UNTESTED}"


def _doubts(best: Arm, others: Sequence[Arm]) -> list[str]:
    assert best.summary
    if best.summary.n == 1:
        return ["one seed has no interval"]
    overlapping = [
        arm.label for arm in others if len(arm.losses) > 1 and arm.summary and best.summary.overlaps(arm.summary)
    ]
    lone = [arm.label for arm in others if len(arm.losses) == 1]
    short = [arm.label for arm in (best, *others) if len(arm.losses) < len(arm.outcomes)]
    doubts = {
        "that interval overlaps those of": overlapping,
        "there is but one seed, and no interval, of": lone,
        "seeds are without a final loss in": short,
    }
    return [f"{doubt} {join(labels)}" for doubt, labels in doubts.items() if labels]


def _without_loss(design: Design) -> str:
    without = [arm.label for arm in design.arms if not arm.summary]
    return f"Without any final loss: {join(without)}." if without else ""


def _given_convergence(best: Arm) -> str:
    diverged = best.count("diverged")
    return f"This is given convergence: {diverged} of its {len(best.outcomes)} seeds diverged." if diverged else ""
