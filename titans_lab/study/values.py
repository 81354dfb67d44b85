"""Values against their declared types: strict, with a remedy in every refusal."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from titans_lab.study.loader import resolve

if TYPE_CHECKING:
    from pydantic import TypeAdapter

WANTED = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", NoneType: "null"}
KINDS = {int: "an integer", float: "a number", bool: "a boolean", str: "text", list: "a list", dict: "a mapping"}
LONGEST_SHOWN = 60
MOST_CHOICES = 20  # that a message lists
SUFFIXES = {"%": 1e-2, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
EXACT = 2**53  # below it, a float is the integer that it looks like
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def typed(hint: Any, value: Any) -> Any:
    """The value as its declared type has it: an integer for a float becomes a float, nothing else is converted.

    Raises:
        ValueError: Saying what the value is, what it should be and what to write.
    """
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{describe(value)}, not {expected(hint)}{_remedy(hint, value)}") from error


def expected(hint: Any) -> str:
    """A declared type in words."""
    if get_origin(hint) is Literal:
        return "one of " + _some(get_args(hint))
    return WANTED[hint] if hint in WANTED else " or ".join(expected(part) for part in get_args(hint))


def describe(value: Any) -> str:
    """A value and what it is, in words."""
    if value is None:
        return "null"
    kind = KINDS[type(value)]
    if isinstance(value, (list, dict)):
        return kind
    return f"{brief(value)} is {kind}"


def brief(value: Any) -> str:
    """A value as `show` has it, or its beginning."""
    text = show(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def show(value: Any) -> str:
    """A value as a study file writes it, text in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def nearest(key: str, valid: Collection[str]) -> str:
    """What may have been meant by an unknown dotted key: a near one in its section, else its name elsewhere."""
    parent, _, name = key.rpartition(".")
    siblings = {_name(other): other for other in valid if other.rpartition(".")[0] == parent}
    near = (
        [siblings[other] for other in _nearest(name, siblings)]
        or [other for other in valid if _name(other) == name]
        or difflib.get_close_matches(key, valid, n=2, cutoff=0.75)
    )
    return f"did you mean {' or '.join(near)}?" if near else f"valid here: {_some(list(siblings or valid))}"


def _some(words: Sequence[str]) -> str:
    """A list of words, or its beginning."""
    more = f", ... ({len(words)} in all)" if len(words) > MOST_CHOICES else ""
    return ", ".join(words[:MOST_CHOICES]) + more


def _nearest(name: str, names: Collection[str]) -> list[str]:
    """At most two names that are near another, the second only if it is nearly as near as the first."""
    found = difflib.get_close_matches(name, names, n=2)
    nearness = [difflib.SequenceMatcher(None, other, name).ratio() for other in found]
    return [other for other, near in zip(found, nearness, strict=True) if near > 0.9 * nearness[0]]


def _name(key: str) -> str:
    return key.rpartition(".")[2]


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _remedy(hint: Any, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that can be told."""
    if hint is not str and get_origin(hint) is Literal and isinstance(value, str):
        near = _nearest(value, get_args(hint))
        return f"; did you mean {' or '.join(near)}?" if near else ""
    for other in _alternatives(value):
        if _accepts(hint, other):
            return f"; write {show(other)}"
    return "; a key that varies belongs under grid" if isinstance(value, list) and hint is not str else ""


def _accepts(hint: Any, value: Any) -> bool:
    from pydantic import ValidationError

    try:
        _adapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


def _alternatives(value: Any) -> Iterator[Any]:
    """Values of other types that may have been meant."""
    if isinstance(value, str):
        yield resolve(value)
        yield BOOLEANS.get(value.lower(), value)
        number = resolve(value[:-1])
        if value[-1:] in SUFFIXES and isinstance(number, int | float):
            yield (times := number * SUFFIXES[value[-1]])
            yield round(times)
    elif isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        yield int(value)
    if isinstance(value, (bool, int, float)):
        yield show(value)
