"""What a study says of itself as a whole: seeds, what is held, the metric, the order and the budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titans_lab.durations import parse_duration
from titans_lab.errors import nearest
from titans_lab.study.hold import SOLVED_BY, Hold
from titans_lab.study.loader import Node
from titans_lab.study.metric import Direction, Taken
from titans_lab.study.outline import Problems
from titans_lab.study.settings import MOST_RUNS, Setting, listed, settings
from titans_lab.study.values import brief, describe, show

Order = Literal["listed", "shuffled"]
METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Budget:
    """What a sweep may spend before it launches nothing more; runs that have started are finished.

    Attributes:
        wall_time: Seconds from the start of the sweep; None: no limit.
        device_time: Seconds of work of all devices together, cores where there is no GPU; None: no limit.
    """

    wall_time: float | None = None
    device_time: float | None = None


@dataclass(frozen=True)
class Terms:
    """What a study says of itself as a whole, each at its default where it says nothing.

    Attributes:
        seeds: Of every combination.
        hold: What is equal in all arms.
        metric: What a study says of the metric that its arms are compared by: arguments of
            `titans_lab.study.metric.find`, and where they stand; None: the metric of the task.
        order: In which a sweep launches.
        budget: What a sweep may spend.
    """

    seeds: tuple[int, ...] = (0,)
    hold: Hold | None = None
    metric: Setting | None = None
    order: Order = "listed"
    budget: Budget = Budget()


def check_terms(nodes: Mapping[str, Node], problems: Problems) -> Terms:
    """The terms of a study file."""
    checks: dict[str, Callable[[Node, Problems], Any]] = {
        "seeds": check_seeds,
        "hold": check_hold,
        "metric": check_metric,
        "order": check_order,
        "budget": check_budget,
    }
    found: dict[str, Any] = {key: check(nodes[key], problems) for key, check in checks.items() if key in nodes}
    return Terms(**found)


def check_seeds(node: Node, problems: Problems) -> tuple[int, ...]:
    """The seeds that a count or a list means."""
    if isinstance(node.value, list):
        levels = listed(int, "seeds", node, problems)
        if len(levels) > MOST_RUNS:
            problems.add(node.place, "seeds", f"{len(levels)} of them, more than {MOST_RUNS}; remove some")
        for level in levels:
            if level.value < 0:
                problems.add(level.place, "seeds", f"{level.value} is no seed; write integers from 0")
        return tuple(level.value for level in levels)
    for count in settings(int, "seeds", [node], problems):
        if 1 <= count.value <= MOST_RUNS:
            return tuple(range(count.value))
        problems.add(count.place, "seeds", f"{count.value} is not a count from 1 to {MOST_RUNS}; write 3 or [0, 1, 2]")
    return ()


def check_order(node: Node, problems: Problems) -> Order:
    """In which order a sweep launches."""
    return next((setting.value for setting in settings(Order, "order", [node], problems)), "listed")


def check_hold(node: Node, problems: Problems) -> Hold | None:
    """What is held equal, and by what; its name alone is enough."""
    parts = parts_of(node, "hold", "what", ("what", "by"), problems)
    by = parts.get("by")
    nodes = by.value if by and isinstance(by.value, list) else [by] if by else []
    ways = Literal[tuple(dict.fromkeys(way for ways in SOLVED_BY.values() for way in ways))]  # type: ignore[valid-type]
    by_given = [setting.value for setting in settings(ways, "hold.by", nodes, problems)]
    for what in values_of(parts, "hold", {"what": Literal[tuple(SOLVED_BY)]}, problems).values():
        for way, place in zip(by_given, [each.place for each in nodes], strict=False):
            if way not in SOLVED_BY[what.value]:
                problems.add(place, "hold.by", f"{way} does not decide {what.value}; {_ways(what.value)}")
        if len(set(by_given)) < len(by_given):
            problems.add(nodes[0].place, "hold.by", "one of them twice; remove one")
        return Hold(what.value, tuple(by_given) or SOLVED_BY[what.value][:1])
    return None


def check_metric(node: Node, problems: Problems) -> Setting | None:
    """What arms are compared by; its name alone is enough."""
    return asked_metric(node, "metric", {"name": str, "direction": Direction, "taken": Taken}, problems)


def asked_metric(node: Node, key: str, hints: Mapping[str, Any], problems: Problems) -> Setting | None:
    """What is said of a metric: arguments of `titans_lab.study.metric.find`; None where it has no name."""
    found = values_of(parts_of(node, key, "name", tuple(hints), problems), key, hints, problems)
    if "name" not in found:
        return None
    if not METRIC.fullmatch(found["name"].value):
        rule = "write the name of a column, such as loss or accuracy"
        problems.add(found["name"].place, f"{key}.name", f"{brief(found['name'].value)} is no name of a metric; {rule}")
        return None
    return Setting({name: setting.value for name, setting in found.items()}, node.place)


def check_budget(node: Node, problems: Problems) -> Budget:
    """What a sweep may spend."""
    parts = parts_of(node, "budget", None, ("wall_time", "device_time"), problems)
    return Budget(**{key: seconds_of(part, f"budget.{key}", problems) for key, part in parts.items()})


def seconds_of(node: Node, key: str, problems: Problems) -> float | None:
    """The seconds of a duration; None where the value is none."""
    try:
        return parse_duration(node.value if isinstance(node.value, str) else show(node.plain()))
    except ValueError as error:
        problems.add(node.place, key, error)
        return None


def _ways(what: str) -> str:
    ways = SOLVED_BY[what]
    return f"write {ways[0]}" if len(ways) == 1 else f"write one of {', '.join(ways)}"


def parts_of(node: Node, key: str, short: str | None, valid: Iterable[str], problems: Problems) -> Mapping[str, Node]:
    """The entries of a mapping; of a bare value where that stands for the entry `short`."""
    if not isinstance(node.value, dict):
        if short:
            return {short: node}
        example = ", ".join(f"{each}: ..." for each in valid)
        problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; write {{{example}}}")
        return {}
    parts = dict(node.value)
    for unknown in [each for each in parts if each not in valid]:
        problems.add(parts.pop(unknown).key_place, f"{key}.{unknown}", f"unknown key; {nearest(unknown, tuple(valid))}")
    if not parts or (short and short not in parts):
        problems.add(node.place, key, f"says no {short or ' or '.join(valid)}; add it, or remove the key")
    return parts


def values_of(parts: Mapping[str, Node], key: str, hints: Mapping[str, Any], problems: Problems) -> dict[str, Setting]:
    """The entries that are of their types."""
    return {
        name: setting
        for name, hint in hints.items()
        if name in parts
        for setting in settings(hint, f"{key}.{name}", [parts[name]], problems)
    }
