"""The shapes of values in the study language. Each shape reads nodes of YAML, and has a JSON schema.

A shape reads a node and returns a setting of the right type. If the node is wrong, it adds a problem and returns None.
So all problems of a file are found in one pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from titans_lab.durations import parse_duration
from titans_lab.run.metric import COSTS
from titans_lab.run.values import FORMER, adapter, describe, logspace, meant, show, typed
from titans_lab.study.loader import Node, Problems, Setting

Schema = dict[str, Any]


@dataclass(frozen=True)
class Language:
    """The names that a study may use for values of runs.

    Attributes:
        leaves: The types of the values of a run, by dotted key.
        hints: `leaves` and the type of `preset`.
        names: The names that an expression may use, and their types.
        parse: A function from a text to its expression, which has `names`. It raises ValueError where it is none.
        sections: The dotted keys that hold other keys.
        outside: The keys that are no part of a run's identity.
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
        language: The words that the study may use.
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
    def schema(self, words: Language) -> Schema:
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


@dataclass(frozen=True)
class Value(Shape):
    """A scalar of a declared type.

    Attributes:
        hint: The type.
        check: A function that converts the value, or raises ValueError with a message.
        more: Further fields of the JSON schema.
    """

    hint: Any
    check: Callable[[Any], Any] = lambda value: value
    more: Mapping[str, Any] = field(default_factory=dict)

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the value, converted to its type."""
        try:
            return Setting(self.check(typed(self.hint, node.plain())), node.place, node.key_place)
        except ValueError as error:
            reading.problems.add(node.place, key, error)
            return None

    def schema(self, words: Language) -> Schema:
        """Return pydantic's schema of the type."""
        return {**adapter(self.hint).json_schema(), **self.more}


def count(most: int, example: str) -> Value:
    """Return the shape of an integer from 1 to `most`."""

    def check(number: int) -> int:
        if not 1 <= number <= most:
            raise ValueError(f"{number} is not a count from 1 to {most}; write {example}")
        return number

    return Value(int, check, {"minimum": 1})


class Duration(Shape):
    """A duration with its unit. It is read as seconds."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the seconds."""
        try:
            text = node.value if isinstance(node.value, str) else show(node.plain())
            return Setting(parse_duration(text), node.place, node.key_place)
        except ValueError as error:
            reading.problems.add(node.place, key, error)
            return None

    def schema(self, words: Language) -> Schema:
        """Return the schema of a text."""
        return {"type": "string"}


@dataclass(frozen=True)
class Predicate(Shape):
    """An expression over the values of a run.

    Attributes:
        early: Why the expression must not use costs, which follow from a configuration. "": it may use them.
    """

    early: str = ""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the parsed expression."""
        try:
            if not isinstance(node.value, str):
                raise ValueError(f'{describe(node.plain())}, not an expression; write "model.memory.depth > 1"')
            found = reading.language.parse(node.value)
            if self.early and (derived := found.names & COSTS.keys()):
                raise ValueError(f"{', '.join(sorted(derived))}: {self.early}")
        except ValueError as error:
            reading.problems.add(node.place, key, error)
            return None
        return Setting(found, node.place, node.key_place)

    def schema(self, words: Language) -> Schema:
        """Return the schema of a text."""
        return {"type": "string"}


@dataclass(frozen=True)
class Several(Shape):
    """One value of a shape or a list of values. It is read as a tuple of settings.

    Attributes:
        each: The shape of each value.
        empty: The message for an empty list. "": it is allowed.
    """

    each: Shape
    empty: str = ""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the settings of the valid values."""
        nodes = node.value if isinstance(node.value, list) else [node]
        if not nodes and self.empty:
            reading.problems.add(node.place, key, self.empty)
        found = [self.each.read(child, key, reading) for child in nodes]
        return Setting(tuple(each for each in found if each), node.place, node.key_place)

    def schema(self, words: Language) -> Schema:
        """Return the schema of either."""
        inner = self.each.schema(words)
        return {"anyOf": [inner, _list(inner)]}


@dataclass(frozen=True)
class Levels(Shape):
    """A list of values of a declared type, or a logspace. It is read as a tuple of settings.

    Attributes:
        hint: The type of the values.
        repeats: Whether a value may be listed twice.
    """

    hint: Any
    repeats: bool = False

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the settings of the valid values."""
        if is_logspace(node):
            found = list(self._spread(key, node.value["logspace"], reading))
        elif isinstance(node.value, list) and node.value:
            read = [Value(self.hint).read(child, key, reading) for child in node.value]
            found = [each for each in read if each]
        else:
            given = "an empty list" if node.value == [] else f"{describe(node.plain())}, not a list"
            remedy = "name its values, as in [1, 2] or {logspace: [first, last, count]}, or set one under base"
            reading.problems.add(node.place, key, f"{given}; {remedy}")
            return None
        levels: dict[Any, Setting] = {}
        for each in found:
            if each.value in levels and not self.repeats:
                reading.problems.add(each.place, key, f"{show(each.value)} is listed twice; remove one")
            levels[each.value] = each
        return Setting(tuple(found if self.repeats else levels.values()), node.place, node.key_place)

    def _spread(self, key: str, node: Node, reading: Reading) -> Iterator[Setting]:
        """Yield the values of a logspace, rounded if the key holds integers."""
        numbers = {self.hint, *get_args(self.hint)} & {int, float}
        try:
            if not numbers:
                raise ValueError(f"{key} does not hold a number")
            for value in logspace(node.plain()):
                yield Setting(value if float in numbers else round(value), node.place)
        except ValueError as error:
            words = f"logspace: {error}; write it as {{logspace: [1e-4, 1e-2, 5]}}"
            reading.problems.add(node.place, key, words)

    def schema(self, words: Language) -> Schema:
        """Return the schema of a list or a logspace."""
        ends = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
        spread = {**mapping_schema({"logspace": ends}), "required": ["logspace"]}
        return {"anyOf": [_list(Value(self.hint).schema(words)), spread]}


@dataclass(frozen=True)
class Choices(Shape):
    """A value of a declared type, or a list or logspace of values. It is read as a tuple of settings."""

    hint: Any

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the settings of the valid values."""
        if isinstance(node.value, list) or is_logspace(node):
            return Levels(self.hint).read(node, key, reading)
        found = Value(self.hint).read(node, key, reading)
        return found and Setting((found,), node.place, node.key_place)

    def schema(self, words: Language) -> Schema:
        """Return the schema of either."""
        return {"anyOf": [Value(self.hint).schema(words), Levels(self.hint).schema(words)]}


@dataclass(frozen=True)
class ByKey(Shape):
    """A mapping from dotted keys of a run. It is read as a dictionary of settings.

    Attributes:
        each: A function from the type of a key to the shape of its value.
        of: The valid keys: the "leaves" of a run, the "hints" with `preset`, or the "names" of expressions.
        empty: The message for an empty mapping. "": it is allowed.
        other: The message for a value that is no mapping.
        lists: Whether the values are lists. Then a mapping as a value means that a key was nested.
    """

    each: Callable[[Any], Shape]
    of: Literal["leaves", "hints", "names"] = "leaves"
    empty: str = ""
    other: str = "not a mapping; indent keys below it, or remove it"
    lists: bool = False

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the settings of the valid entries."""
        if self.empty and node.value in ({}, []):
            reading.problems.add(node.place, key, self.empty)
        if not isinstance(node.value, dict):
            reading.problems.add(node.place, key, f"{describe(node.plain())}, {self.other}")
            return None
        valid, found = self._valid(reading.language), {}
        for name, child in node.value.items():
            if name not in valid:
                reading.problems.add(child.key_place, name, self._unknown(key, name, child, reading.language))
            elif setting := self.each(valid[name]).read(child, name, reading):
                found[name] = setting
        return Setting(found, node.place, node.key_place)

    def _valid(self, words: Language) -> Mapping[str, Any]:
        if self.of == "names":
            return {name: hint for name, hint in words.names.items() if name not in COSTS}
        return words.hints if self.of == "hints" else words.leaves

    def _unknown(self, key: str, name: str, child: Node, words: Language) -> str:
        if not self.lists or not isinstance(child.value, dict):
            return words.unknown(name, self._valid(words))
        while isinstance(child.value, dict) and child.value:
            inner, child = next(iter(child.value.items()))
            name = f"{name}.{inner}"
        return f"nested; {key} has dotted keys: write {name}: [...]"

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the whole path: a dotted key is one entry."""
        return path, ""

    def schema(self, words: Language) -> Schema:
        """Return the schema of a mapping from each key."""
        return mapping_schema({key: self.each(hint).schema(words) for key, hint in self._valid(words).items()})


@dataclass(frozen=True)
class Named(Shape):
    """A mapping from names that the user chooses. It is read as a dictionary of settings."""

    each: Shape
    check: Callable[[str], object] = lambda name: None
    empty: str = ""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the settings of the valid entries."""
        if self.empty and node.value in ({}, []):
            reading.problems.add(node.place, key, self.empty)
        found = {}
        for name, child in entries(node, key, reading.problems):
            try:
                self.check(name)
            except ValueError as error:
                reading.problems.add(child.key_place, key, error)
            if setting := self.each.read(child, f"{key}.{name}", reading):
                found[name] = setting
        return Setting(found, node.place, node.key_place)

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the whole path: a name may have dots."""
        return path, ""

    def schema(self, words: Language) -> Schema:
        """Return the schema of a mapping from any names."""
        return {"type": "object", "additionalProperties": self.each.schema(words)}


@dataclass(frozen=True)
class Struct(Shape):
    """A mapping with a fixed set of keys, from which an object is made.

    Attributes:
        keys: The valid keys.
        make: A function that makes the object from their values, by name. A ValueError that begins with a key and a
            colon concerns the value of that key.
        short: The key whose value may be written instead of the mapping. "": none.
        needs: A required key besides `short`, and the message where it is missing.
        placed: Whether `make` gets the place of the mapping's key, as `place`.
        faults: A function that yields place, key and message of contradictions in the object.
    """

    keys: tuple[Key, ...]
    make: Callable[..., Any]
    short: str = ""
    needs: tuple[str, str] = ("", "")
    placed: bool = False
    faults: Callable[[Any], Iterable[tuple[str, str, str]]] = lambda made: ()

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the object."""
        problems = reading.problems
        parts = {self.short: node} if self.short and not isinstance(node.value, dict) else node.value
        if not isinstance(parts, dict):
            example = ", ".join(f"{each.name}: ..." for each in self.keys)
            problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; write {{{example}}}")
            return None
        before = problems.count
        found = read_keys(parts, self.keys, f"{key}.", reading)
        if self.short not in parts if self.short else not parts:
            missing = self.short or " or ".join(each.name for each in self.keys)
            problems.add(node.place, key, f"says no {missing}; add it, or remove the key")
        if self.needs[0] and self.needs[0] not in parts:
            problems.add(node.key_place, f"{key}.{self.needs[0]}", f"missing; {self.needs[1]}")
        if problems.count > before:
            return None
        values = {name: setting.value for name, setting in found.items()}
        try:
            made = self.make(**values, **({"place": node.key_place} if self.placed else {}))
        except ValueError as error:
            name, _, words = str(error).partition(": ")
            about = (found[name].place, f"{key}.{name}", words) if name in found else (node.place, key, str(error))
            problems.add(*about)
            return None
        for place, name, words in self.faults(made):
            problems.add(place, name, words)
        return Setting(made, node.place, node.key_place)

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the first part of a path."""
        name, _, rest = path.partition(".")
        return name, rest

    def schema(self, words: Language) -> Schema:
        """Return the schema of the mapping, or of its short form."""
        found = described(self.keys, words)
        if required := [each for each in (self.short, self.needs[0]) if each]:
            found["required"] = required
        inner = {each.name: each.shape for each in self.keys}
        return {"anyOf": [inner[self.short].schema(words), found]} if self.short else found


def read_keys(parts: Mapping[str, Node], keys: Iterable[Key], prefix: str, reading: Reading) -> dict[str, Setting]:
    """Return the settings of the valid entries of a mapping. Messages have `prefix` before their keys."""
    known = {key.name: key for key in keys}
    found = {}
    for name, child in parts.items():
        if name not in known:
            words = unknown_key(name, tuple(known), prefix, reading.language)
            reading.problems.add(child.key_place, prefix + name, f"unknown key; {words}")
        elif setting := known[name].shape.read(child, prefix + name, reading):
            found[name] = setting
    return found


def unknown_key(name: str, valid: tuple[str, ...], prefix: str, words: Language) -> str:
    """Return a suggestion for an unknown key. At the top of a part of a study it may be a key of the base."""
    if FORMER.get(prefix + name) in [prefix + each for each in valid]:
        return meant(prefix + name, [prefix + each for each in valid])
    if prefix:
        return meant(name, valid)
    base = {key: f"base.{key}" for key in (*words.sections, *words.leaves)}
    here = FORMER.get(name, name)
    return f"did you mean {base[here]}?" if here in base else meant(name, (*valid, *base.values()))


def entries(node: Node, key: str, problems: Problems) -> list[tuple[str, Node]]:
    """Return the entries of a node that should be a mapping."""
    if isinstance(node.value, dict):
        return list(node.value.items())
    problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; indent keys below it, or remove it")
    return []


def is_logspace(node: Node) -> bool:
    """Return whether a node is `{logspace: ...}`, which stands for a list of values."""
    return isinstance(node.value, dict) and list(node.value) == ["logspace"]


def described(keys: Iterable[Key], words: Language) -> Schema:
    """Return the schema of a mapping that has these keys."""
    return mapping_schema({key.name: {"description": key.help, **key.shape.schema(words)} for key in keys})


def mapping_schema(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a mapping that has these keys and no others."""
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _list(inner: Schema) -> Schema:
    return {"type": "array", "items": inner, "minItems": 1}
