"""What varies in a study: axes of levels, each of which sets some values of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from titans_lab.study.fields import LEAVES
from titans_lab.study.loader import Node
from titans_lab.study.outline import Block, Problems, unknown
from titans_lab.study.settings import HINTS, Setting, is_logspace, listed, settings
from titans_lab.study.values import brief, describe, show

STUDY, ARM = "study", "arm"  # factors that are names: of a sub-study, and of an arm of `ablate`
NAMED = (STUDY, ARM)
UNCHANGED = "base"  # the arm of `ablate` that leaves all as it is
ARM_NAME = re.compile(r"[^\W_][^\x00-\x1f\x7f]{0,99}")


@dataclass(frozen=True)
class Level:
    """One value of an axis: what it sets, by dotted key, what it is called in the factors of a run, and where it is."""

    settings: Mapping[str, Setting]
    factors: Mapping[str, Any]
    place: str = ""


@dataclass(frozen=True)
class Axis:
    """Levels of which a run has one.

    Attributes:
        keys: That its levels set, each with the place where it is varied.
    """

    levels: tuple[Level, ...]
    keys: Mapping[str, str]


def check_axes(block: Block, problems: Problems) -> list[Axis]:
    """All axes of a block, the sooner the slower they vary; no key is varied twice."""
    axes = [_single(key, node, problems) for key, node in block.grid.items()]
    axes += [_group(group, problems) for group in block.zips if group]
    if block.ablate:
        axes.append(_ablation(block.ablate, problems))
    refuse_twice(axes, problems)
    return axes


def refuse_twice(axes: Iterable[Axis], problems: Problems) -> None:
    """Adds a problem for each key that two axes vary."""
    varied: dict[str, str] = {}
    for axis in axes:
        for key, place in axis.keys.items():
            if varied.setdefault(key, place) != place:
                problems.add(place, key, f"varied already at {varied[key]}; keep one of them")


def check_name(name: str, place: str, key: str, problems: Problems) -> None:
    """Refuses a name that would read badly as the name of an arm."""
    if not ARM_NAME.fullmatch(name):
        rule = "use at most 100 characters on one line, the first a letter or a digit"
        problems.add(place, key, f"{brief(name)} cannot name an arm; {rule}")


def short(key: str) -> str:
    """A dotted key without its section."""
    return key.partition(".")[2] or key


def assignment(key: str, value: Any) -> str:
    """A key and its value as they tell arms apart: "memory.depth=2"."""
    return f"{short(key)}={value if isinstance(value, str) else show(value)}"


def _single(key: str, node: Node, problems: Problems) -> Axis:
    levels = (Level({key: setting}, {key: setting.value}) for setting in listed(HINTS[key], key, node, problems))
    return Axis(tuple(levels), {key: node.key_place})


def _group(group: Mapping[str, Node], problems: Problems) -> Axis:
    """Lists whose values go together: the first with the first, and so on."""
    columns = {key: _column(key, node, problems) for key, node in group.items()}
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        first = next(iter(group.values()))
        problems.add(first.key_place, "zip", f"lists of different lengths: {counts}; make them equally long")
        return Axis((), {})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    levels = (Level(row, {key: setting.value for key, setting in row.items()}) for row in rows)
    return Axis(tuple(levels), {key: node.key_place for key, node in group.items()})


def _column(key: str, node: Node, problems: Problems) -> list[Setting]:
    """A list of a zip, in which a value may stand twice."""
    if isinstance(node.value, list) and node.value:
        return list(settings(HINTS[key], key, node.value, problems))
    return listed(HINTS[key], key, node, problems)


def _ablation(nodes: Mapping[str, Node], problems: Problems) -> Axis:
    """The base, and then what differs from it in one respect at a time."""
    levels = {UNCHANGED: Level({}, {ARM: UNCHANGED})}
    keys: dict[str, str] = {}
    for key, node in nodes.items():
        for name, values in _arms(key, node, problems).items():
            check_name(name, node.key_place, "ablate", problems)
            if name in levels:
                problems.add(node.key_place, f"ablate.{key}", f"a second arm {show(name)}; give it another name")
            levels[name] = Level(values, {ARM: name}, node.key_place)
            keys |= {each: node.key_place for each in values if each not in keys}
    return Axis(tuple(levels.values()), keys)


def _arms(key: str, node: Node, problems: Problems) -> dict[str, dict[str, Setting]]:
    """What arms set by their names: of a dotted key one for each value, of a name one that may set several keys."""
    if key in HINTS:
        several = isinstance(node.value, list) or is_logspace(node)
        given = listed(HINTS[key], key, node, problems) if several else settings(HINTS[key], key, [node], problems)
        return {assignment(key, setting.value): {key: setting} for setting in given}
    if not isinstance(node.value, dict):
        remedy = f"or name an arm, as in {show(key)}: {{model.memory.momentum: false}}"
        problems.add(node.key_place, f"ablate.{key}", f"{unknown(key, tuple(HINTS))}; {remedy}")
        return {}
    if not node.value:
        problems.add(node.place, f"ablate.{key}", f"{describe({})} of nothing; name what differs from the base")
    values: dict[str, Setting] = {}
    for name, child in node.value.items():
        if name in HINTS:
            values.update((name, setting) for setting in settings(HINTS[name], name, [child], problems))
        else:
            problems.add(child.key_place, name, unknown(name, tuple(LEAVES)))
    return {key: values}
