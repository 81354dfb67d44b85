"""The common parts of reading a study: nodes and settings with their places, problems, and the interface of shapes.

A shape is the valid form of a key's value. It reads a node of YAML and returns a setting of the right type. If the node
is wrong, it adds a problem and returns None. So all problems of a file are found in one pass.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from titans_lab.errors import UserError
from titans_lab.run.values import meant

Schema = dict[str, Any]

MOST_LINES = 20
MOST_PROBLEMS = 1000  # after which the rest of a file is not checked, because that could take long
LONGEST_KEY = 80


@dataclass(frozen=True)
class Node:
    """A value of a YAML text and its place.

    Attributes:
        value: A scalar, a list of nodes, or a dictionary from key to node.
        place: The place of the value, such as "studies/depth.yaml:12".
        key_place: The place of its key, or of the value where it has none.
    """

    value: Any
    place: str
    key_place: str

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


@dataclass(frozen=True)
class Setting:
    """A value of the right type and its place.

    Attributes:
        value: The value, converted to its declared type.
        place: The place of the value.
        key_place: The place of its key, if that is needed.
    """

    value: Any
    place: str
    key_place: str = ""


class Problems:
    """The problems found so far, a line each. A problem that several parts of a study share is reported once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    @property
    def count(self) -> int:
        """Return the number of problems so far."""
        return len(self._lines)

    def add(self, place: str, key: str, message: object) -> None:
        """Add a problem with the value of a key."""
        quoted = json.dumps(key, ensure_ascii=False)
        shown = quoted if len(quoted) <= LONGEST_KEY else quoted[:LONGEST_KEY] + "..."
        self.add_line(f"{place}: {key if 0 < len(key) <= LONGEST_KEY else shown}: {message}")

    def add_line(self, line: str) -> None:
        """Add a line that already names its place and key."""
        self._lines[line] = None
        if len(self._lines) >= MOST_PROBLEMS:
            self.stop()

    def stop(self) -> None:
        """Raise UserError with all problems, if there are any."""
        lines = list(self._lines)
        if len(lines) > MOST_LINES:
            some = "and at least" if len(lines) >= MOST_PROBLEMS else "and"
            lines[MOST_LINES:] = [f"{some} {len(lines) - MOST_LINES} more problems"]
        if lines:
            raise UserError("\n".join(lines))


@dataclass(frozen=True)
class Language:
    """The names that a study may use for values of runs.

    Attributes:
        leaves: The types of the values of a run, by dotted key.
        hints: `leaves` and the type of `preset`.
        names: The names that an expression may use, and their types.
        parse: A function from a text to its expression, which has `names`. It raises ValueError where it is none.
        sections: The dotted keys that hold other keys.
        outside: The keys that are not part of a run's identity.
    """

    leaves: Mapping[str, Any]
    hints: Mapping[str, Any]
    names: Mapping[str, Any]
    parse: Callable[[str], Any]
    sections: tuple[str, ...]
    outside: frozenset[str]

    def unknown(self, key: str, valid: Iterable[str]) -> str:
        """Return the message for a key that holds no value."""
        if key not in self.sections:
            return f"unknown key; {meant(key, tuple(valid))}"
        example = next(leaf for leaf in self.leaves if leaf.startswith(f"{key}."))
        return f"a section, not a value; write a key of it, such as {example}"


@dataclass
class Reading:
    """One pass over a study.

    Attributes:
        path: The study file; the files that it builds on are found from its folder.
        problems: The problems found so far.
        language: The names that the study may use.
        files: The settings of the files that the study builds on, by resolved path. None while a file is read.
    """

    path: Path
    problems: Problems
    language: Language
    files: dict[Path, Any] = field(default_factory=dict)


class Shape(ABC):
    """The valid form of a key's value."""

    @abstractmethod
    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the setting of a node. Add a problem and return None where the node is wrong."""

    @abstractmethod
    def schema(self, language: Language) -> Schema:
        """Return the JSON schema of valid values."""

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the entry that a dotted path begins with and the rest, or None where the value has no entries."""
        return None


@dataclass(frozen=True)
class Key:
    """One key of the language, a row of the table.

    Attributes:
        name: The name of the key.
        shape: The shape of its value.
        help: Its description in a sentence.
        within: The parts of a study where it is valid besides the top level: "sub-study", "when".
        override: What an override may replace: the "whole" value, an "entry" of it, "both", or "" for nothing.
    """

    name: str
    shape: Shape
    help: str
    within: frozenset[str] = frozenset()
    override: Literal["", "whole", "entry", "both"] = ""


def mapping_schema(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a mapping that has these keys and no others."""
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def list_schema(inner: Schema) -> Schema:
    """Return the schema of a list that is not empty, whose items have a schema."""
    return {"type": "array", "items": inner, "minItems": 1}
