"""Find the crossed factors of a study, and the seeds of each combination of their levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from titans_lab.report.arms import Arm, Design, phrase, spell
from titans_lab.report.differences import sample_of
from titans_lab.report.laws import SIZES
from titans_lab.stats.crossing import CrossedFactor, Crossing

Level = tuple[Any, ...]  # the values of the factors that vary together


def crossing(design: Design) -> Crossing | None:
    """Return the factors of a study and its cells; None if no two factors are crossed.

    Factors whose values always go together, as in `zip`, are one factor. None is also returned for arms of several
    tasks or data, whose scores do not compare, and for a study of sizes and budgets alone, which asks for a law.
    """
    if len({arm.judged_by for arm in design.arms}) > 1 or _asks_for_a_law(design):
        return None
    groups = _groups(design.arms)
    levels = [_levels(group, design) for group in groups]
    factors = tuple(_factor(group, each) for group, each in zip(groups, levels, strict=True))
    cells = {
        tuple(each.index(_level(arm, group)) for group, each in zip(groups, levels, strict=True)): sample_of(arm, arm)
        for arm in design.arms
    }
    found = Crossing(factors, cells)
    return found if any(found.crosses(axes) for axes in combinations(range(len(factors)), 2)) else None


def _asks_for_a_law(design: Design) -> bool:
    return bool(design.arms) and {*design.arms[0].outcomes[0].run.factors} <= SIZES


def _groups(arms: Sequence[Arm]) -> list[tuple[str, ...]]:
    """Return the names of the varied factors, those together whose values decide each other."""
    names = list(arms[0].factors) if arms else []
    partitions: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        values = [repr(arm.factors[name]) for arm in arms]
        partition = tuple(values.index(value) for value in values)
        if len(set(partition)) > 1:
            partitions.setdefault(partition, []).append(name)
    return [tuple(group) for group in partitions.values()]


def _levels(group: Sequence[str], design: Design) -> list[Level]:
    """Return the levels of a factor in the order of the study, after the level that all baselines share."""
    shared = {repr(_level(base, group)) for base in design.bases}
    levels = list({repr(level): level for level in (_level(arm, group) for arm in design.arms)}.values())
    return sorted(levels, key=lambda level: repr(level) not in shared) if len(shared) == 1 else levels


def _level(arm: Arm, group: Sequence[str]) -> Level:
    return tuple(arm.factors[name] for name in group)


def _factor(group: Sequence[str], levels: Sequence[Level]) -> CrossedFactor:
    """Return a factor with its values as levels, or with their names where several values go together."""
    if len(group) == 1:
        return CrossedFactor(group[0], tuple(level[0] for level in levels))
    return CrossedFactor(" and ".join(group), tuple(phrase(dict(zip(group, level, strict=True))) for level in levels))


def level_name(factor: CrossedFactor, level: int) -> str:
    """Return a level of a factor as readable text."""
    return spell(factor.levels[level])
