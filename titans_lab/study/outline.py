"""What a study file and the overrides on the command line say: every key known, no value looked at yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from titans_lab.errors import UserError
from titans_lab.study.fields import LEAVES, SECTIONS
from titans_lab.study.loader import Node, parse
from titans_lab.study.values import describe, nearest

TEXTS = ("question", "expect", "name")
PRESET = "preset"
KEYS = (*TEXTS, PRESET, "base", "grid", "seeds")
IN_BASE = tuple(f"base.{key}" for key in (*SECTIONS, *LEAVES))
MOST_LINES = 20


class Problems:
    """The problems found so far, a line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, place: str, key: str, message: object) -> None:
        self.lines.append(f"{place}: {key}: {message}")

    def stop(self) -> None:
        """Raises UserError with all of them, if there are any."""
        if len(self.lines) > MOST_LINES:
            self.lines[MOST_LINES:] = [f"and {len(self.lines) - MOST_LINES} more problems"]
        if self.lines:
            raise UserError("\n".join(self.lines))


@dataclass
class Outline:
    """The nodes of a study: `base` and `grid` by dotted key."""

    texts: dict[str, Node] = field(default_factory=dict)
    preset: Node | None = None
    base: dict[str, Node] = field(default_factory=dict)
    grid: dict[str, Node] = field(default_factory=dict)
    seeds: Node | None = None


def outline(root: Node, problems: Problems) -> Outline:
    """The parts of a study file."""
    if root.value is None:
        raise UserError(f"{root.place}: the file is empty; a study has the keys {', '.join(KEYS)}")
    study = Outline()
    for key, node in _entries(root, "the study", problems):
        if key in TEXTS:
            study.texts[key] = node
        elif key == PRESET:
            study.preset = node
        elif key == "base":
            study.base = dict(_base(node, "", problems))
        elif key == "grid":
            study.grid = dict(_grid(node, problems))
        elif key == "seeds":
            study.seeds = node
        else:
            problems.add(node.key_place, key, f"unknown key; {nearest(key, (*KEYS, *IN_BASE))}")
    return study


def override(study: Outline, texts: Sequence[str], problems: Problems) -> None:
    """Puts `key=value` texts in the place of what the file says."""
    given: dict[str, Node] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        node = parse(value, lambda line, text=text: f"override {text}")  # type: ignore[misc]
        if not equals:
            problems.add(node.place, key, "no value; write key=value")
        elif key in given:
            problems.add(node.place, key, f"given twice, also as {given[key].place}; keep one of them")
        elif key == "seeds":
            study.seeds = node
        elif key == PRESET:
            study.preset = node
        elif key.startswith("grid."):
            study.grid |= _grid(Node({key.removeprefix("grid."): node}, node.place, node.place), problems)
        elif key in LEAVES:
            study.base[key] = node
        else:
            problems.add(node.place, key, _unknown(key, (*LEAVES, PRESET, "seeds")))
        given[key] = node
    for key in given.keys() & study.grid.keys():
        varied = f"the grid varies it at {study.grid[key].key_place}; write grid.{key}=[...] to change its values"
        problems.add(given[key].place, key, varied)


def _base(node: Node, key: str, problems: Problems) -> Iterator[tuple[str, Node]]:
    """The values below a node by dotted key."""
    if key in LEAVES:
        yield key, node
        return
    for name, child in _entries(node, key or "base", problems):
        below = f"{key}.{name}" if key else name
        if below not in LEAVES and below not in SECTIONS:
            problems.add(child.key_place, below, f"unknown key; {nearest(below, (*LEAVES, *SECTIONS))}")
        elif "." in name:
            problems.add(child.key_place, below, "a dotted key; under base, nest it key by key")
        else:
            yield from _base(child, below, problems)


def _grid(node: Node, problems: Problems) -> Iterator[tuple[str, Node]]:
    """The lists of values by dotted key."""
    for key, child in _entries(node, "grid", problems):
        if key in LEAVES or key == PRESET:
            yield key, child
        elif isinstance(child.value, dict):
            problems.add(child.key_place, key, f"nested; a grid has dotted keys: write {_dotted(key, child)}: [...]")
        else:
            problems.add(child.key_place, key, _unknown(key, (*LEAVES, PRESET)))


def _entries(node: Node, key: str, problems: Problems) -> list[tuple[str, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; indent keys below it, or remove it")
    return []


def _unknown(key: str, valid: Sequence[str]) -> str:
    if key not in SECTIONS:
        return f"unknown key; {nearest(key, valid)}"
    example = next(leaf for leaf in LEAVES if leaf.startswith(f"{key}."))
    return f"a section, not a value; write a key of it, such as {example}"


def _dotted(key: str, node: Node) -> str:
    """The dotted key of the first value below a node."""
    while isinstance(node.value, dict) and node.value:
        name, node = next(iter(node.value.items()))
        key = f"{key}.{name}"
    return key
