"""Values against their declared types: strict, with a remedy in every refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from titans_lab.errors import listed, near
from titans_lab.study.loader import resolve

if TYPE_CHECKING:
    from pydantic import TypeAdapter

WANTED = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", NoneType: "null"}
KINDS = {int: "an integer", float: "a number", bool: "a boolean", str: "text", list: "a list", dict: "a mapping"}
LONGEST_SHOWN = 60
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
        return "one of " + listed(get_args(hint))
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


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _remedy(hint: Any, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that can be told."""
    if hint is not str and get_origin(hint) is Literal and isinstance(value, str):
        meant = near(value, get_args(hint))
        return f"; did you mean {' or '.join(meant)}?" if meant else ""
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
