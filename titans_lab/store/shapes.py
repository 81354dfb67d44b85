"""Shapes: checks of a record's content before the record is used. `titans_lab.store.records` has one for each kind.

A checksum shows that a record is whole. It does not show that this version wrote it, or that its author is trusted. A
shape is a function that raises `Misfit` where a value has another form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from titans_lab.store import arrow
from titans_lab.store.arrow import brief
from titans_lab.store.columns import Column
from titans_lab.store.names import PART

#: A check of a value. The text is the dotted key of the value in its record.
Shape = Callable[[Any, str], None]


class Misfit(ValueError):
    """A value does not have the form that its key in a record requires."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)


def leaf(*kinds: type) -> Shape:
    """Return the shape of values of one of some types. An integer is also a float, and a boolean is no number.

    An integer beyond 64 bits has no shape: nothing here writes one, and it is neither a float nor a value of a column.
    """

    def check(value: Any, where: str) -> None:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise Misfit(where, "is an integer beyond 64 bits")
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            raise Misfit(where, f"{brief(value)} is not of type {' or '.join(kind.__name__ for kind in kinds)}")

    return check


def instance(kind: type) -> Shape:
    """Return the shape of instances of a type."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, kind):
            raise Misfit(where, f"{brief(value)} is not of type {kind.__name__}")

    return check


TEXT, BOOLEAN, INTEGER, NUMBER = leaf(str), leaf(bool), leaf(int), leaf(float)
OBJECT, LIST = instance(dict), instance(list)
SCALAR = leaf(str, float, bool, type(None))


def anything(value: Any, where: str) -> None:
    """Accept any value."""


def at_least(least: int) -> Shape:
    """Return the shape of integers that are not smaller than `least`."""

    def check(value: Any, where: str) -> None:
        INTEGER(value, where)
        if not least <= value < 10**18:
            raise Misfit(where, f"{value} is not at least {least}")

    return check


def matching(pattern: str) -> Shape:
    """Return the shape of texts that match a regular expression as a whole."""

    def check(value: Any, where: str) -> None:
        TEXT(value, where)
        if not re.fullmatch(pattern, value):
            raise Misfit(where, f"{brief(value)} is not of the form {pattern}")

    return check


def one_of(names: Collection[str]) -> Shape:
    """Return the shape of texts that are one of some names."""

    def check(value: Any, where: str) -> None:
        TEXT(value, where)
        if value not in names:
            raise Misfit(where, f"{brief(value)} is none of {', '.join(sorted(names))}")

    return check


def optional(shape: Shape) -> Shape:
    """Return the shape of null and of the values of a `shape`."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            shape(value, where)

    return check


def items(shape: Shape, least: int = 0) -> Shape:
    """Return the shape of lists of at least `least` items of a `shape`."""

    def check(values: Any, where: str) -> None:
        LIST(values, where)
        if len(values) < least:
            raise Misfit(where, f"has {len(values)} items, not at least {least}")
        for number, value in enumerate(values):
            shape(value, f"{where}.{number}")

    return check


def row_of(*shapes: Shape) -> Shape:
    """Return the shape of lists with one item of each shape, in order."""

    def check(values: Any, where: str) -> None:
        LIST(values, where)
        if len(values) != len(shapes):
            raise Misfit(where, f"has {len(values)} items, not {len(shapes)}")
        for number, (shape, value) in enumerate(zip(shapes, values, strict=True)):
            shape(value, f"{where}.{number}")

    return check


def mapping(shape: Shape, keys: Shape = TEXT) -> Shape:
    """Return the shape of objects whose keys have one shape and whose values have another."""

    def check(values: Any, where: str) -> None:
        OBJECT(values, where)
        for key, value in values.items():
            keys(key, where)
            shape(value, f"{where}.{key}")

    return check


def fields(
    required: Mapping[str, Shape], may_be: Mapping[str, Shape] | None = None, columns: Collection[Column] = ()
) -> Shape:
    """Return the shape of objects with some keys.

    Args:
        required: The keys that must exist, and the shapes of their values.
        may_be: The keys that may be missing or null, and the shapes of their values.
        columns: Further keys that may be missing or null. Their values must fit the columns. Any other key is allowed,
            because a later version may have written it.
    """
    named = {**required, **{key: optional(shape) for key, shape in (may_be or {}).items()}}
    others = [column for column in columns if column.name not in named]

    def check(values: Any, where: str) -> None:
        OBJECT(values, where)
        for key in required:
            if key not in values:
                raise Misfit(where, f"has no {key}")
        inner = f"{where}." if where else ""
        for key, shape in named.items():
            if key in values:
                shape(values[key], inner + key)
        problems: list[str] = []
        arrow.row(values, [column for column in others if column.name in values], problems.append)
        if problems:
            raise Misfit(where, problems[0])

    return check


NAME, COUNT = matching(PART), matching("[0-9]{1,18}")
