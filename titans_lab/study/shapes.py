"""The shapes of single values, and of lists of values that a key may take.

A value is a scalar of a declared type, a duration, or an expression. `containers.py` has the shapes of collections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from titans_lab.durations import parse_duration
from titans_lab.run.metric import COSTS
from titans_lab.run.values import adapter, describe, logspace, show, typed
from titans_lab.study.reading import Language, Node, Reading, Schema, Setting, Shape, list_schema, mapping_schema


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

    def schema(self, language: Language) -> Schema:
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

    def schema(self, language: Language) -> Schema:
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

    def schema(self, language: Language) -> Schema:
        """Return the schema of a text."""
        return {"type": "string"}


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

    def schema(self, language: Language) -> Schema:
        """Return the schema of a list or a logspace."""
        ends = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
        spread = {**mapping_schema({"logspace": ends}), "required": ["logspace"]}
        return {"anyOf": [list_schema(Value(self.hint).schema(language)), spread]}


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

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        return {"anyOf": [Value(self.hint).schema(language), Levels(self.hint).schema(language)]}


def is_logspace(node: Node) -> bool:
    """Return whether a node is `{logspace: ...}`, which stands for a list of values."""
    return isinstance(node.value, dict) and list(node.value) == ["logspace"]
