"""The shapes of collections: one value or several, and mappings from keys of a run, names or a fixed set of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titans_lab.run.metric import COSTS
from titans_lab.run.values import FORMER, describe, meant
from titans_lab.study.reading import (
    Key,
    Language,
    Node,
    Problems,
    Reading,
    Schema,
    Setting,
    Shape,
    list_schema,
    mapping_schema,
)


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

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        inner = self.each.schema(language)
        return {"anyOf": [inner, list_schema(inner)]}


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

    def _valid(self, language: Language) -> Mapping[str, Any]:
        if self.of == "names":
            return {name: hint for name, hint in language.names.items() if name not in COSTS}
        return language.hints if self.of == "hints" else language.leaves

    def _unknown(self, key: str, name: str, child: Node, language: Language) -> str:
        if not self.lists or not isinstance(child.value, dict):
            return language.unknown(name, self._valid(language))
        while isinstance(child.value, dict) and child.value:
            inner, child = next(iter(child.value.items()))
            name = f"{name}.{inner}"
        return f"nested; {key} has dotted keys: write {name}: [...]"

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the whole path: a dotted key is one entry."""
        return path, ""

    def schema(self, language: Language) -> Schema:
        """Return the schema of a mapping from each key."""
        return mapping_schema({key: self.each(hint).schema(language) for key, hint in self._valid(language).items()})


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

    def schema(self, language: Language) -> Schema:
        """Return the schema of a mapping from any names."""
        return {"type": "object", "additionalProperties": self.each.schema(language)}


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

    def schema(self, language: Language) -> Schema:
        """Return the schema of the mapping, or of its short form."""
        found = described(self.keys, language)
        if required := [each for each in (self.short, self.needs[0]) if each]:
            found["required"] = required
        inner = {each.name: each.shape for each in self.keys}
        return {"anyOf": [inner[self.short].schema(language), found]} if self.short else found


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


def unknown_key(name: str, valid: tuple[str, ...], prefix: str, language: Language) -> str:
    """Return a suggestion for an unknown key. At the top of a part of a study it may be a key of the base."""
    if FORMER.get(prefix + name) in [prefix + each for each in valid]:
        return meant(prefix + name, [prefix + each for each in valid])
    if prefix:
        return meant(name, valid)
    base = {key: f"base.{key}" for key in (*language.sections, *language.leaves)}
    here = FORMER.get(name, name)
    return f"did you mean {base[here]}?" if here in base else meant(name, (*valid, *base.values()))


def entries(node: Node, key: str, problems: Problems) -> list[tuple[str, Node]]:
    """Return the entries of a node that should be a mapping."""
    if isinstance(node.value, dict):
        return list(node.value.items())
    problems.add(node.place, key, f"{describe(node.plain())}, not a mapping; indent keys below it, or remove it")
    return []


def described(keys: Iterable[Key], language: Language) -> Schema:
    """Return the schema of a mapping that has these keys."""
    return mapping_schema({key.name: {"description": key.help, **key.shape.schema(language)} for key in keys})
