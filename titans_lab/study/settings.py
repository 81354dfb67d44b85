"""Values of a study with the places that they were given at: single ones, lists and spaces of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from titans_lab.study.fields import LEAVES
from titans_lab.study.loader import Node
from titans_lab.study.outline import PRESET, Problems
from titans_lab.study.presets import PRESETS
from titans_lab.study.values import describe, show, typed

MOST_RUNS = 100_000
DIGITS = 6  # of a value of a logspace: what a power comes to in its last bits depends on the machine
HINTS = {key: leaf.hint for key, leaf in LEAVES.items()} | {PRESET: Literal[tuple(PRESETS)]}


@dataclass(frozen=True)
class Setting:
    """A value of the right type and the place that it was given at."""

    value: Any
    place: str


def settings(hint: Any, key: str, nodes: Iterable[Node], problems: Problems) -> Iterator[Setting]:
    """Those of the nodes whose values have the declared type."""
    for node in nodes:
        try:
            value = typed(hint, node.plain())
        except ValueError as error:
            problems.add(node.place, key, error)
        else:
            yield Setting(value, node.place)


def listed(hint: Any, key: str, node: Node, problems: Problems) -> list[Setting]:
    """The values of a list or a logspace, which has some and none twice."""
    if is_logspace(node):
        return _distinct(_spread(hint, key, node.value["logspace"], problems), key, problems)
    if not isinstance(node.value, list) or not node.value:
        given = "an empty list" if node.value == [] else f"{describe(node.plain())}, not a list"
        remedy = "name its values, as in [1, 2] or {logspace: [first, last, count]}, or set one under base"
        problems.add(node.place, key, f"{given}; {remedy}")
        return []
    return _distinct(settings(hint, key, node.value, problems), key, problems)


def is_logspace(node: Node) -> bool:
    """Whether a node is `{logspace: ...}`, which stands for a list of values."""
    return isinstance(node.value, dict) and list(node.value) == ["logspace"]


def _distinct(given: Iterable[Setting], key: str, problems: Problems) -> list[Setting]:
    levels: dict[Any, Setting] = {}
    for setting in given:
        if setting.value in levels:
            problems.add(setting.place, key, f"{show(setting.value)} is listed twice; remove one")
        levels[setting.value] = setting
    return list(levels.values())


def _spread(hint: Any, key: str, node: Node, problems: Problems) -> list[Setting]:
    """The values of a logspace, rounded for a key that holds integers."""
    numbers = {hint, *get_args(hint)} & {int, float}
    try:
        if not numbers:
            raise ValueError(f"{key} does not hold a number")
        values = _logspace(node.plain())
    except ValueError as error:
        problems.add(node.place, key, f"logspace: {error}; write it as {{logspace: [1e-4, 1e-2, 5]}}")
        return []
    return [Setting(value if float in numbers else round(value), node.place) for value in values]


def _logspace(given: Any) -> list[float]:
    """Values whose logarithms are equally far apart, the two ends as they are given."""
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(f"{describe(given)}, not the list of a first value, a last one and how many")
    first, last = (typed(float, end) for end in given[:2])
    count = typed(int, given[2])
    if not 2 <= count <= MOST_RUNS:
        raise ValueError(f"{count} is not a count from 2 to {MOST_RUNS}")
    if first <= 0 or last <= 0:
        raise ValueError(f"{show(min(first, last))} has no logarithm, for it is not above 0")
    if first == last:
        raise ValueError("the first value and the last are the same")
    start, step = math.log10(first), (math.log10(last) - math.log10(first)) / (count - 1)
    return [first, *(float(f"{10 ** (start + step * at):.{DIGITS}g}") for at in range(1, count - 1)), last]
