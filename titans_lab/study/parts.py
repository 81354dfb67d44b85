"""The shapes of the keys that decide a study's runs: bases, conditions, arms, exclusions and seeds."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.run.values import ARM, MOST_RUNS, PRESET, assignment, brief, meant, show
from titans_lab.study.containers import ByKey, Several, described, entries, read_keys, unknown_key
from titans_lab.study.loader import load
from titans_lab.study.reading import Key, Language, Node, Reading, Schema, Setting, Shape
from titans_lab.study.shapes import Choices, Levels, Predicate, Value, count
from titans_lab.study.space import Level, Rule, SubSpace

ARM_NAME = re.compile(r"[^\W_].{0,99}")
MOST_FILES = 100  # the most files that a study builds on
EMPTY = "empty, which says nothing; indent keys below it, or remove it"

Table = Callable[[], tuple[Key, ...]]  # returns the table of keys, which some shapes in the table refer to


@dataclass(frozen=True)
class Base(Shape):
    """The base of all runs.

    It is written as nested sections, another file, or a list of both, and read as presets and a dictionary.
    """

    table: Table

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the presets and the settings by dotted key. Later parts override earlier ones."""
        return Setting(self._merged(node, reading.path, reading), node.place, node.key_place)

    def _merged(self, node: Node, path: Path, reading: Reading) -> tuple[tuple[Setting, ...], dict[str, Setting]]:
        presets: tuple[Setting, ...] = ()
        values: dict[str, Setting] = {}
        for part in node.value if isinstance(node.value, list) else [node]:
            if isinstance(part.value, str):
                named, given = self._file(part, path.parent / part.value, reading)
                presets, values = named or presets, values | given
            else:
                values |= dict(self._leaves(part, "", reading))
        return presets, values

    def _file(self, node: Node, path: Path, reading: Reading) -> tuple[tuple[Setting, ...], dict[str, Setting]]:
        """Return the settings of a file.

        These are presets and base of a study, or the sections in any other file. Each file is read once.
        """
        nothing: tuple[tuple[Setting, ...], dict[str, Setting]] = (), {}
        if reason := no_file(path):
            reading.problems.add(node.place, "base", f"{brief(node.value)} {reason}")
            return nothing
        whole = path.resolve()
        if whole in reading.files:
            found = reading.files[whole]
            if found is None:
                words = f"{path} builds on itself; give one of these files a base of its own"
                reading.problems.add(node.place, "base", words)
            return found or nothing
        if len(reading.files) >= MOST_FILES:
            words = f"more than {MOST_FILES} files; put what they say into fewer"
            reading.problems.add(node.place, "base", words)
            return nothing
        reading.files[whole] = None
        try:
            root = load(path)
        except UserError as error:
            if path.is_file():
                raise  # the error names its line
            reading.problems.add(node.place, "base", error)
            reading.files[whole] = nothing
            return nothing
        names = tuple(key.name for key in self.table())
        presets, values = nothing
        if isinstance(root.value, dict) and root.value.keys() & set(names):
            for name, child in root.value.items():
                if name not in names:
                    words = unknown_key(name, names, "", reading.language)
                    reading.problems.add(child.key_place, name, f"unknown key; {words}")
                elif name == "base":
                    named, values = self._merged(child, path, reading)
                    presets = presets or named
                elif name == PRESET and (read := Presets().read(child, PRESET, reading)):
                    presets = read.value
        else:
            values = dict(self._leaves(root, "", reading))
        reading.files[whole] = presets, values
        return presets, values

    def _leaves(self, node: Node, key: str, reading: Reading) -> Iterator[tuple[str, Setting]]:
        """Yield the settings below a node by dotted key."""
        words = reading.language
        if key in words.leaves:
            if setting := Value(words.hints[key]).read(node, key, reading):
                yield key, setting
            return
        for name, child in entries(node, key or "base", reading.problems):
            below = f"{key}.{name}" if key else name
            if below not in words.leaves and below not in words.sections:
                near = meant(below, (*words.leaves, *words.sections))
                reading.problems.add(child.key_place, below, f"unknown key; {near}")
            elif "." in name:
                reading.problems.add(child.key_place, below, "a dotted key; under base, nest it key by key")
            else:
                yield from self._leaves(child, below, reading)

    def schema(self, language: Language) -> Schema:
        """Return the schema of sections, a file's name, or a list of both."""
        part = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/sections"}]}
        return {"anyOf": [*part["anyOf"], {"type": "array", "items": part, "minItems": 1}]}


@dataclass(frozen=True)
class StudyPart(Shape):
    """A sub-study, or the settings under a condition: a mapping with the keys that are valid there."""

    within: str
    table: Table

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return the keys that are valid in this part."""
        return tuple(key for key in self.table() if self.within in key.within)

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the part as a `SubSpace`."""
        if node.value is None and self.within == "sub-study":
            return Setting(SubSpace(), node.place, node.key_place)
        parts = dict(entries(node, key, reading.problems))
        return Setting(block(read_keys(parts, self.keys, "", reading)), node.place, node.key_place)

    def schema(self, language: Language) -> Schema:
        """Return the schema of the mapping."""
        found = described(self.keys, language)
        return {"anyOf": [{"type": "null"}, found]} if self.within == "sub-study" else found


def block(found: Mapping[str, Setting]) -> SubSpace:
    """Return the `SubSpace` of some keys of a study."""

    def value(key: str, default: Any) -> Any:
        return found[key].value if key in found else default

    presets, base = value("base", ((), {}))
    return SubSpace(
        presets=value(PRESET, ()) or presets,
        base=base,
        grid=value("grid", {}),
        zips=tuple(each.value for each in value("zip", ())),
        when=value("when", ()),
        ablate=value("ablate", {}),
        exclude=tuple(each.value for each in value("exclude", ())),
        where=tuple(Rule(each.value, each.value.names, each.place, "where") for each in value("where", ())),
    )


@dataclass(frozen=True)
class Conditions(Shape):
    """A mapping from expressions to the settings under them. It is read as a tuple of pairs."""

    table: Table

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return each expression with its settings."""
        early = Predicate(early="a condition is asked before they are known; use keys of a run, or where")
        if node.value in ({}, []):
            reading.problems.add(node.place, key, EMPTY)
        found = []
        for text, child in entries(node, key, reading.problems):
            condition = early.read(Node(text, child.key_place, child.key_place), key, reading)
            inner = StudyPart("when", self.table).read(child, f"{key}.{text}", reading)
            if condition and inner:
                found.append((condition, inner.value))
        return Setting(tuple(found), node.place, node.key_place)

    def schema(self, language: Language) -> Schema:
        """Return the schema of a mapping from any text."""
        return {"type": "object", "additionalProperties": StudyPart("when", self.table).schema(language)}


class Ablation(Shape):
    """A mapping of arms: a dotted key has an arm for each value, and a name is one arm that may set several keys."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the levels of each entry."""
        if node.value in ({}, []):
            reading.problems.add(node.place, key, EMPTY)
        found: dict[str, tuple[Level, ...]] = {}
        for name, child in entries(node, key, reading.problems):
            arms = self._arms(name, child, reading)
            for arm in arms:
                try:
                    check_arm_name(arm)
                except ValueError as error:
                    reading.problems.add(child.key_place, key, error)
            found[name] = tuple(Level(each, {ARM: arm}, child.key_place) for arm, each in arms.items())
        return Setting(found, node.place, node.key_place)

    def _arms(self, name: str, node: Node, reading: Reading) -> dict[str, dict[str, Setting]]:
        words = reading.language
        if name in words.hints:
            values = Choices(words.hints[name]).read(node, name, reading)
            return {assignment(name, each.value): {name: each} for each in (values.value if values else ())}
        if not isinstance(node.value, dict):
            remedy = f"or name an arm, as in {show(name)}: {{model.memory.momentum: false}}"
            reading.problems.add(node.key_place, f"ablate.{name}", f"{words.unknown(name, words.hints)}; {remedy}")
            return {}
        empty = "a mapping of nothing; name what differs from the base"
        arm = ByKey(Value, of="hints", empty=empty).read(node, f"ablate.{name}", reading)
        return {name: arm.value if arm else {}}

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the whole path: a dotted key or a name is one entry."""
        return path, ""

    def schema(self, language: Language) -> Schema:
        """Return the schema of both kinds of entries."""
        arms = {key: Choices(hint).schema(language) for key, hint in language.hints.items()}
        return {"type": "object", "additionalProperties": ByKey(Value, of="hints").schema(language), "properties": arms}


@dataclass(frozen=True)
class Combination(Shape):
    """A mapping of values that occur together, which is read as a rule, or a text of another shape."""

    text: Shape
    keeps: bool = False

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the rule of a mapping or an expression, or the text."""
        if not isinstance(node.value, dict):
            found = self.text.read(node, key, reading)
            if found and callable(found.value):
                rule = Rule(found.value, found.value.names, node.place, key, self.keeps)
                return Setting(rule, node.place, node.key_place)
            return found
        shape = ByKey(Choices, of="names", empty="an empty mapping, which says nothing; name keys and values")
        read = shape.read(node, key, reading)
        wanted = {name: [each.value for each in values.value] for name, values in (read.value if read else {}).items()}

        def holds(lookup: Callable[[str], Any]) -> bool:
            return all(lookup(name) in values for name, values in wanted.items())

        return Setting(Rule(holds, frozenset(wanted), node.place, key, self.keeps), node.place, node.key_place)

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        return {"anyOf": [self.text.schema(language), {"$ref": "#/$defs/chosen"}]}


class AnyText(Shape):
    """A text that is checked later, against the rest of the study."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the value unchanged."""
        return Setting(node.plain(), node.place, node.key_place)

    def schema(self, language: Language) -> Schema:
        """Return the schema of a text."""
        return {"type": "string"}


class Presets(Shape):
    """The name of a preset, or a list of names. It is read as a tuple of settings."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the names of presets that exist."""
        return Several(Value(reading.language.hints[PRESET])).read(node, key, reading)

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        return Several(Value(language.hints[PRESET])).schema(language)


class Seeds(Shape):
    """A count of seeds, or a list of them."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the seeds."""
        if not isinstance(node.value, list):
            found = count(MOST_RUNS, "3 or [0, 1, 2]").read(node, key, reading)
            return found and Setting(tuple(range(found.value)), node.place, node.key_place)
        levels = Levels(int).read(node, key, reading)
        seeds = levels.value if levels else ()
        if len(seeds) > MOST_RUNS:
            reading.problems.add(node.place, key, f"{len(seeds)} of them, more than {MOST_RUNS}; remove some")
        for seed in seeds:
            if seed.value < 0:
                reading.problems.add(seed.place, key, f"{seed.value} is not a seed; write integers from 0")
        return Setting(tuple(seed.value for seed in seeds), node.place, node.key_place)

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        seeds = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
        return {"anyOf": [{"type": "integer", "minimum": 1}, seeds]}


def check_arm_name(name: str) -> None:
    """Raise ValueError for a name that is unreadable as the name of an arm."""
    if not ARM_NAME.fullmatch(name) or not name.isprintable():
        rule = "use at most 100 printable characters, the first a letter or a digit"
        raise ValueError(f"{brief(name)} cannot name an arm; {rule}")


def no_file(path: Path) -> str | None:
    """Return why a path cannot be that of a study file, or None where it can."""
    try:
        usual = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return None  # reading it reports the error with a suggestion
    except (OSError, ValueError) as error:
        return f"is not there ({getattr(error, 'strerror', None) or error}); name a study file"
    return None if usual else "is not a file; name a study file"
