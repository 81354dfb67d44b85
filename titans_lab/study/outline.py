"""What a study file says: every key known, no value looked at yet."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from titans_lab.errors import UserError, nearest
from titans_lab.study.fields import LEAVES, SECTIONS
from titans_lab.study.loader import Node, load
from titans_lab.study.values import brief, describe

TEXTS = ("question", "expect", "name")
PRESET = "preset"
#: Keys of what says which runs there are: of a study, of a sub-study, and of what holds under a condition.
BLOCK = (PRESET, "base", "grid", "zip", "when", "ablate", "exclude", "where")
FILLED = ("grid", "zip", "when", "ablate")  # that mean nothing when they are empty
CONDITIONAL = ("base", "grid", "zip")
TERMS = ("seeds", "hold", "baseline", "metric", "order", "budget", "search")
KEYS = (*TEXTS, PRESET, "base", "grid", "seeds", *BLOCK[3:], "studies", *TERMS[1:])
IN_BASE = tuple(f"base.{key}" for key in (*SECTIONS, *LEAVES))
MOST_LINES = 20
MOST_PROBLEMS = 1000  # of which the rest of a file would take long to look for
LONGEST_KEY = 80


class Problems:
    """The problems found so far, a line each; what several parts of a study share is told once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._lines)

    def add(self, place: str, key: str, message: object) -> None:
        named = key if 0 < len(key) <= LONGEST_KEY else brief(key)
        self.tell(f"{place}: {named}: {message}")

    def tell(self, line: str) -> None:
        self._lines[line] = None
        if len(self._lines) >= MOST_PROBLEMS:
            self.stop()

    def stop(self) -> None:
        """Raises UserError with all of them, if there are any."""
        lines = list(self._lines)
        if len(lines) > MOST_LINES:
            some = "and at least" if len(lines) >= MOST_PROBLEMS else "and"
            lines[MOST_LINES:] = [f"{some} {len(lines) - MOST_LINES} more problems"]
        if lines:
            raise UserError("\n".join(lines))


@dataclass
class Block:
    """The nodes of what says which runs there are: `base`, `grid` and each of `zips` by dotted key."""

    preset: Node | None = None
    base: dict[str, Node] = field(default_factory=dict)
    grid: dict[str, Node] = field(default_factory=dict)
    zips: list[dict[str, Node]] = field(default_factory=list)
    when: list[tuple[Node, Block]] = field(default_factory=list)
    ablate: dict[str, Node] = field(default_factory=dict)
    exclude: list[Node] = field(default_factory=list)
    where: list[Node] = field(default_factory=list)

    def under(self, outer: Block) -> Block:
        """The block of a sub-study on top of the study's."""
        return Block(
            preset=self.preset or outer.preset,
            base=outer.base | self.base,
            grid=outer.grid | self.grid,
            zips=outer.zips + self.zips,
            when=outer.when + self.when,
            ablate=outer.ablate | self.ablate,
            exclude=outer.exclude + self.exclude,
            where=outer.where + self.where,
        )


@dataclass
class Outline:
    """The nodes of a study.

    Attributes:
        texts: By key of `TEXTS`.
        block: Of the study itself.
        studies: The blocks of its sub-studies by name, with the place of each.
        terms: By key of `TERMS`.
    """

    texts: dict[str, Node] = field(default_factory=dict)
    block: Block = field(default_factory=Block)
    studies: dict[str, tuple[str, Block]] = field(default_factory=dict)
    terms: dict[str, Node] = field(default_factory=dict)

    def blocks(self) -> dict[str, Block]:
        """What says which runs there are: the sub-studies by name on top of the study, or the study alone, as ""."""
        return {name: block.under(self.block) for name, (_, block) in self.studies.items()} or {"": self.block}


def outline(root: Node, path: Path, problems: Problems) -> Outline:
    """The parts of a study file; the files that it builds on are found from `path`."""
    if root.value is None:
        raise UserError(f"{root.place}: the file is empty; a study has the keys {', '.join(KEYS)}")
    if not isinstance(root.value, dict):
        rule = "a study has keys, as in `question: ...`, with a space after each colon"
        raise UserError(f"{root.place}: the study: {describe(root.plain())}, not a mapping; {rule}")
    entries = _known(root, "the study", KEYS, problems)
    study = Outline(
        texts={key: node for key, node in entries.items() if key in TEXTS},
        block=_block(entries, (path,), problems),
        terms={key: node for key, node in entries.items() if key in TERMS},
    )
    if "studies" in entries:
        study.studies = dict(_studies(entries["studies"], path, problems))
    return study


def _studies(node: Node, path: Path, problems: Problems) -> Iterator[tuple[str, tuple[str, Block]]]:
    if node.value == {}:
        problems.add(node.place, "studies", "empty, which says nothing; name sub-studies below it, or remove it")
    for name, child in _entries(node, "studies", problems):
        keys = {} if child.value is None else _known(child, f"studies.{name}", BLOCK, problems)
        yield name, (child.key_place, _block(keys, (path,), problems))


def _block(entries: Mapping[str, Node], files: tuple[Path, ...], problems: Problems) -> Block:
    """The block in the entries of a mapping; `files`: the one it is in, after those that build on it."""
    block = Block(preset=entries.get(PRESET))
    for key, node in entries.items():
        if key in FILLED and node.value in ({}, []):
            problems.add(node.place, key, "empty, which says nothing; indent keys below it, or remove it")
        if key == "base":
            preset, block.base = _base(node, files, problems)
            block.preset = block.preset or preset
        elif key == "grid":
            block.grid = axes(node, key, problems)
        elif key == "zip":
            groups = node.value if isinstance(node.value, list) else [node]
            block.zips = [axes(group, key, problems) for group in groups]
        elif key == "ablate":
            block.ablate = dict(_entries(node, key, problems))
        elif key == "when":
            block.when = list(_conditions(node, files, problems))
        elif key == "exclude":
            block.exclude = node.value if isinstance(node.value, list) else [node]
        elif key == "where":
            block.where = node.value if isinstance(node.value, list) else [node]
    return block


def _conditions(node: Node, files: tuple[Path, ...], problems: Problems) -> Iterator[tuple[Node, Block]]:
    """Each condition, as text, and what holds under it."""
    for text, child in _entries(node, "when", problems):
        entries = _known(child, f"when.{text}", CONDITIONAL, problems)
        yield Node(text, child.key_place, child.key_place), _block(entries, files, problems)


def _base(node: Node, files: tuple[Path, ...], problems: Problems) -> tuple[Node | None, dict[str, Node]]:
    """The preset of the files that a base names, and its values by dotted key, the later on top of the earlier."""
    preset: Node | None = None
    values: dict[str, Node] = {}
    for part in node.value if isinstance(node.value, list) else [node]:
        if isinstance(part.value, str):
            named, given = _file(part, files, problems)
            preset, values = named or preset, values | given
        else:
            values |= dict(_leaves(part, "", problems))
    return preset, values


def _file(node: Node, files: tuple[Path, ...], problems: Problems) -> tuple[Node | None, dict[str, Node]]:
    """What another file gives as a base: a study its preset and base, any other file what stands in it."""
    path = files[-1].parent / node.value
    if reason := _no_file(path):
        problems.add(node.place, "base", f"{brief(node.value)} {reason}")
        return None, {}
    if path.resolve() in [file.resolve() for file in files]:
        problems.add(node.place, "base", f"{path} builds on itself; give one of these files a base of its own")
        return None, {}
    try:
        root = load(path)
    except UserError as error:
        if path.is_file():
            raise  # it names its own line
        problems.add(node.place, "base", error)
        return None, {}
    if not isinstance(root.value, dict) or not root.value.keys() & set(KEYS):
        return None, dict(_leaves(root, "", problems))
    entries = _known(root, "the study", KEYS, problems)
    block = _block({key: entries[key] for key in (PRESET, "base") if key in entries}, (*files, path), problems)
    return block.preset, block.base


def _no_file(path: Path) -> str | None:
    """Why a path cannot be that of a file, whatever is there."""
    try:
        usual = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return None  # reading it says so, with what is near
    except (OSError, ValueError) as error:
        return f"is not there ({getattr(error, 'strerror', None) or error}); name a study file"
    return None if usual else "is no file; name a study file"


def _leaves(node: Node, key: str, problems: Problems) -> Iterator[tuple[str, Node]]:
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
            yield from _leaves(child, below, problems)


def axes(node: Node, what: str, problems: Problems) -> dict[str, Node]:
    """The lists of values by dotted key, of a grid or of a group of zip."""
    found = {}
    for key, child in _entries(node, what, problems):
        if key in LEAVES or key == PRESET:
            found[key] = child
        elif isinstance(child.value, dict):
            problems.add(child.key_place, key, f"nested; {what} has dotted keys: write {_dotted(key, child)}: [...]")
        else:
            problems.add(child.key_place, key, unknown(key, (*LEAVES, PRESET)))
    return found


def _known(node: Node, what: str, valid: Sequence[str], problems: Problems) -> dict[str, Node]:
    """The entries of a mapping whose keys are valid ones."""
    entries = dict(_entries(node, what, problems))
    for key in [key for key in entries if key not in valid]:
        near = f"did you mean base.{key}?" if f"base.{key}" in IN_BASE else nearest(key, (*valid, *IN_BASE))
        problems.add(entries.pop(key).key_place, key, f"unknown key; {near}")
    return entries


def _entries(node: Node, key: str, problems: Problems) -> list[tuple[str, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; indent keys below it, or remove it")
    return []


def unknown(key: str, valid: Sequence[str]) -> str:
    """What to say about a key that is none of those that hold a value."""
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
