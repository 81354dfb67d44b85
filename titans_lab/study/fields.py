"""The fields of a configuration by dotted key, and configurations built from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from titans.models.config import plain as plain
from titans_lab.study.config import RunConfig

Config = TypeVar("Config")


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value: what it may hold and what it means for a run's identity.

    Attributes:
        hint: Its declared type.
        default: What it holds when nothing is said.
        identity: Whether it decides the numbers of a run.
        neutral: The value at which it has no part in the identity; MISSING: there is none.
    """

    hint: Any
    default: Any
    identity: bool
    neutral: Any


class Impossible(ValueError):
    """Values that make no configuration; `faults` has one text each, beginning with a dotted key and a colon."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def walk(config: Any, prefix: str = "", identity: bool = True) -> Iterator[tuple[str, Leaf]]:
    """Each leaf below a dataclass with its dotted key, in the order of declaration."""
    for field, key, hint in _layout(config, prefix):
        inside = identity and field.metadata.get("identity", True)
        if _is_section(hint):
            yield from walk(hint, key + ".", inside)
        else:
            yield key, Leaf(hint, field.default, inside, field.metadata.get("neutral", MISSING))


def build(config: type[Config], values: Mapping[str, Any], prefix: str = "") -> Config:
    """The configuration with these values of dotted keys, and its defaults elsewhere.

    Raises:
        Impossible: With the faults of every part that refuses its values.
    """
    arguments: dict[str, Any] = {}
    faults: list[str] = []
    for field, key, hint in _layout(config, prefix):  # type: ignore[arg-type]
        if key in values:
            arguments[field.name] = values[key]
        elif _is_section(hint):
            try:
                section = build(hint, values, key + ".")
            except Impossible as error:
                faults += error.faults
                continue
            several = "sections" in field.metadata
            arguments[field.name] = (*arguments.get(field.name, ()), section) if several else section
    if faults:
        raise Impossible(faults)
    try:
        return config(**arguments)
    except ValueError as error:
        raise Impossible([prefix + str(error)]) from error


def _is_section(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint)


@cache
def _layout(config: Any, prefix: str) -> list[tuple[dataclasses.Field[Any], str, Any]]:
    """Each field, its dotted key and its type."""
    return [(field, prefix + name, hint) for field, name, hint in layout(config)]


def layout(config: Any) -> list[tuple[dataclasses.Field[Any], str, Any]]:
    """Return each field of a configuration with its key and its type.

    A field whose metadata has `choices` is one of those. A field whose metadata has `sections` holds a tuple of
    configurations, each of which is a section of its own.
    """
    hints, found = get_type_hints(config), []
    for field in dataclasses.fields(config):
        if "sections" in field.metadata:
            found += [(field, name, section) for name, section in field.metadata["sections"]().items()]
        elif "choices" in field.metadata:
            found.append((field, field.name, Literal[tuple(field.metadata["choices"]())]))
        else:
            found.append((field, field.name, hints[field.name]))
    return found


#: Every value that a study can set, by dotted key.
LEAVES: dict[str, Leaf] = dict(walk(RunConfig))

#: The dotted keys that hold others.
SECTIONS: tuple[str, ...] = tuple(
    dict.fromkeys(key[:end] for key in LEAVES for end, letter in enumerate(key) if letter == ".")
)
