"""Convert and write values and keys of a study, and suggest what a wrong one was meant to be."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from titans_lab.errors import listed, near, nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

STUDY, ARM = "study", "arm"  # factors whose values are names of sub-studies, and of arms of `ablate`
NAMED = (STUDY, ARM)
PRESET = "preset"
WANTED = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", NoneType: "null"}
KINDS = {int: "an integer", float: "a number", bool: "a boolean", str: "text", list: "a list", dict: "a mapping"}
LONGEST_SHOWN = 60
DIGITS = 6  # digits of a computed value, since the last bits of a power depend on the machine
MOST_RUNS = 100_000  # the most runs of a study
SUFFIXES = {"%": 1e-2, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
EXACT = 2**53  # below it, a float represents every integer

#: The former names of keys and choices, for error messages only.
FORMER = {
    "model.blocks": "model.n_layers",
    "model.heads": "model.n_heads",
    "model.feed_forward": "model.mlp_ratio",
    "model.conv_width": "model.conv_size",
    "model.segment": "model.segment_len",
    "model.tied": "model.tie_embeddings",
    "model.unit_qk": "model.qk_l2_norm",
    "model.recurrent.conv_width": "model.recurrent.conv_size",
    "model.recurrent.key_expansion": "model.recurrent.expand_k",
    "model.recurrent.value_expansion": "model.recurrent.expand_v",
    "train.length": "train.seq_len",
    "train.batch": "train.batch_size",
    "train.warmup": "train.warmup_ratio",
    "train.final_lr": "train.min_lr_ratio",
    "train.clip": "train.max_grad_norm",
    "log.inside_every": "log.memory_every",
    "log.inside_tokens": "log.memory_tokens",
    "metric.at": "metric.taken",
    "budget.hours": "budget.wall_time",
    "budget.gpu_hours": "budget.device_time",
    "min": "minimize",
    "lower": "minimize",
    "max": "maximize",
    "higher": "maximize",
    "feed_forward": "mlp_ratio",
}


def typed(hint: Any, value: Any) -> Any:
    """Return a value, checked against its declared type. An integer becomes a float where the type is float.

    Raises:
        ValueError: The value has another type. The message says what to write.
    """
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{describe(value)}, not {expected(hint)}{_remedy(hint, value)}") from error


@cache
def adapter(hint: Any) -> TypeAdapter[Any]:
    """Return pydantic's strict adapter of a declared type."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def expected(hint: Any) -> str:
    """Return a declared type in words."""
    if get_origin(hint) is Literal:
        return "one of " + listed(get_args(hint))
    return WANTED[hint] if hint in WANTED else " or ".join(expected(part) for part in get_args(hint))


def describe(value: Any) -> str:
    """Return a value and its kind in words."""
    if value is None:
        return "null"
    kind = KINDS[type(value)]
    if isinstance(value, (list, dict)):
        return kind
    return f"{brief(value)} is {kind}"


def brief(value: Any) -> str:
    """Return a value as `show` writes it, cut if it is long."""
    text = show(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def show(value: Any) -> str:
    """Return a value as a study file has it, with text in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def short(key: str) -> str:
    """Return a dotted key without its section."""
    return key.partition(".")[2] or key


def endings(keys: Collection[str]) -> dict[str, str]:
    """Return the shortest end of each dotted key that still tells it from the others."""
    return {key: _ending(key, [other for other in keys if other != key]) for key in keys}


def _ending(key: str, others: Collection[str]) -> str:
    parts = key.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1)]
    taken = tuple(f".{other}" for other in others)
    return next((end for end in ends if not any(other.endswith(f".{end}") for other in taken)), key)


def assignment(key: str, value: Any) -> str:
    """Return a key and its value as a label, such as "memory.depth=2"."""
    return f"{short(key)}={value if isinstance(value, str) else show(value)}"


def label(factors: Mapping[str, Any]) -> str:
    """Return the label of an arm, such as "mac memory.depth=2", or "" where nothing varies."""
    return " ".join(value if key in NAMED else assignment(key, value) for key, value in factors.items())


def meant(key: str, valid: Collection[str]) -> str:
    """Return a suggestion for an unknown key: its new name if it is a former key, else a similar valid key."""
    return f"its name is now {FORMER[key]}" if FORMER.get(key) in valid else nearest(key, valid)


def logspace(given: Any) -> list[float]:
    """Return the values of `logspace: [first, last, count]`, evenly spaced on a logarithmic scale.

    Raises:
        ValueError: `given` is no such list.
    """
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(f"{describe(given)}, not the list of a first value, a last one and how many")
    first, last = (typed(float, end) for end in given[:2])
    count = typed(int, given[2])
    if not 2 <= count <= MOST_RUNS:
        raise ValueError(f"{count} is not a count from 2 to {MOST_RUNS}")
    if first <= 0 or last <= 0:
        raise ValueError(f"{show(min(first, last))} has no logarithm, for it is not above 0")
    if first == last:
        raise ValueError("the first value and the last are the same")
    start, step = math.log10(first), (math.log10(last) - math.log10(first)) / (count - 1)
    return [first, *(float(f"{10 ** (start + step * at):.{DIGITS}g}") for at in range(1, count - 1)), last]


def _remedy(hint: Any, value: Any) -> str:
    """Return a suggestion of what to write instead of a value of the wrong type, or "" where none is known."""
    if hint is not str and get_origin(hint) is Literal and isinstance(value, str):
        if FORMER.get(value) in get_args(hint):
            return f"; its name is now {FORMER[value]}"
        found = near(value, get_args(hint))
        return f"; did you mean {' or '.join(found)}?" if found else ""
    for other in _alternatives(hint, value):
        if _accepts(hint, other):
            return f"; write {show(other)}"
    return "; a key that varies belongs under grid" if isinstance(value, list) and hint is not str else ""


def _accepts(hint: Any, value: Any) -> bool:
    from pydantic import ValidationError

    try:
        adapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


def _alternatives(hint: Any, value: Any) -> Iterator[Any]:
    """Yield values of other types that may have been meant."""
    if isinstance(value, str):
        yield _from_text(hint, value)
        number = _from_text(float, value[:-1])
        if value[-1:] in SUFFIXES and number is not None:
            yield (times := number * SUFFIXES[value[-1]])
            yield round(times)
    elif isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        yield int(value)
    if isinstance(value, (bool, int, float)):
        yield show(value)


def _from_text(hint: Any, text: str) -> Any:
    """Return the value that pydantic reads from a text when it is not strict, or None where it reads none."""
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(text, strict=False)
    except ValidationError:
        return None
