"""The values of a study: types, then every combination of the grid, with the place of each that is to blame."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from titans_lab.study.config import RunConfig
from titans_lab.study.fields import LEAVES, Impossible, build
from titans_lab.study.loader import Node
from titans_lab.study.outline import PRESET, Problems
from titans_lab.study.presets import PRESETS
from titans_lab.study.values import describe, show, typed

MOST_RUNS = 100_000
HINTS = {key: leaf.hint for key, leaf in LEAVES.items()} | {PRESET: Literal[tuple(PRESETS)]}


@dataclass(frozen=True)
class Setting:
    """A value of the right type and the place that it was given at."""

    value: Any
    place: str


@dataclass(frozen=True)
class Point:
    """One combination of a grid's values: `factors` by dotted key, and the configuration that they make."""

    factors: dict[str, Any]
    config: RunConfig


def settings(hint: Any, key: str, nodes: Iterable[Node], problems: Problems) -> Iterator[Setting]:
    """Those of the nodes whose values have the declared type."""
    for node in nodes:
        try:
            value = typed(hint, node.plain())
        except ValueError as error:
            problems.add(node.place, key, error)
        else:
            yield Setting(value, node.place)


def check_presets(node: Node, problems: Problems) -> list[Setting]:
    """The presets that a name or a list of names means, the later on top of the earlier."""
    nodes = node.value if isinstance(node.value, list) else [node]
    return list(settings(HINTS[PRESET], PRESET, nodes, problems))


def preset_values(presets: Iterable[Setting]) -> dict[str, Setting]:
    """What presets set, by dotted key, each at the place that names the preset."""
    return {key: Setting(value, name.place) for name in presets for key, value in PRESETS[name.value].items()}


def check_base(nodes: Mapping[str, Node], problems: Problems) -> dict[str, Setting]:
    """The base's values by dotted key."""
    return {key: setting for key, node in nodes.items() for setting in settings(HINTS[key], key, [node], problems)}


def check_grid(nodes: Mapping[str, Node], problems: Problems) -> dict[str, list[Setting]]:
    """The values to combine by dotted key."""
    return {key: _levels(HINTS[key], key, node, problems) for key, node in nodes.items()}


def check_seeds(node: Node, problems: Problems) -> tuple[int, ...]:
    """The seeds that a count or a list means."""
    if isinstance(node.value, list):
        levels = _levels(int, "seeds", node, problems)
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


def check_size(grid: Mapping[str, Node], points: int, seeds: int, problems: Problems) -> None:
    """Refuses more runs than anyone means."""
    if points > 1 and points * seeds > MOST_RUNS:
        first = next(iter(grid.values()))
        count = f"{points * seeds} runs ({points} combinations x {seeds} seeds), more than {MOST_RUNS}"
        problems.add(first.key_place, "grid", f"{count}; split the study")


def check_points(
    presets: Sequence[Setting],
    base: Mapping[str, Setting],
    grid: Mapping[str, list[Setting]],
    problems: Problems,
) -> tuple[Point, ...]:
    """Every combination of the grid over the base over the presets, the last key varying fastest."""
    points: list[Point] = []
    failures: dict[tuple[str, str], list[dict[str, Any]]] = {}
    total = math.prod(map(len, grid.values()))
    for levels in itertools.product(*grid.values()):
        chosen = dict(zip(grid, levels, strict=True))
        factors = {key: level.value for key, level in chosen.items()}
        layers = (
            {key: level for key, level in chosen.items() if key != PRESET},
            base,
            preset_values([*presets, *(level for key, level in chosen.items() if key == PRESET)]),
        )
        values = {key: setting.value for layer in reversed(layers) for key, setting in layer.items()}
        try:
            points.append(Point(factors, build(RunConfig, values)))
        except Impossible as error:
            for fault in error.faults:
                failures.setdefault((_blamed(fault, layers), fault), []).append(factors)
    for (place, fault), combinations in failures.items():
        problems.lines.append(f"{place}: {fault}{_where(combinations, total)}")
    return tuple(points)


def _levels(hint: Any, key: str, node: Node, problems: Problems) -> list[Setting]:
    """The values of a list, which has some and none twice."""
    if not isinstance(node.value, list) or not node.value:
        given = "an empty list" if node.value == [] else f"{describe(node.plain())}, not a list"
        problems.add(node.place, key, f"{given}; name its values, as in [1, 2], or set one under base")
        return []
    levels: dict[Any, Setting] = {}
    for setting in settings(hint, key, node.value, problems):
        if setting.value in levels:
            problems.add(setting.place, key, f"{show(setting.value)} is listed twice; remove one")
        levels[setting.value] = setting
    return list(levels.values())


def _blamed(fault: str, layers: Sequence[Mapping[str, Setting]]) -> str:
    """The place of a value that a fault names, in the uppermost layer that has one; of any value if it names none."""
    key = fault.partition(":")[0]
    section = key.rpartition(".")[0]
    named = [key, *(f"{section}.{word}" for word in re.findall(r"[a-z_][a-z0-9_.]*[a-z0-9]", fault))]
    anything = [key for layer in layers for key in layer]
    return next(layer[name].place for names in (named, anything) for layer in layers for name in names if name in layer)


def _where(combinations: list[dict[str, Any]], total: int) -> str:
    """Which combinations of a grid a fault is in, unless it is in all of them."""
    if len(combinations) == total:
        return ""
    first = ", ".join(f"{key}={show(value)}" for key, value in combinations[0].items())
    more = f" and {len(combinations) - 1} more" if len(combinations) > 1 else ""
    return f" (with {first}{more})"
