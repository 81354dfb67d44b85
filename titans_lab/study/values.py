"""Values and keys of a study: what they may be, how they are written, and what a wrong one was meant to be."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from titans_lab.errors import listed, near, nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

STUDY, ARM = "study", "arm"  # factors that are names: of a sub-study, and of an arm of `ablate`
NAMED = (STUDY, ARM)
PRESET = "preset"
WANTED = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", NoneType: "null"}
KINDS = {int: "an integer", float: "a number", bool: "a boolean", str: "text", list: "a list", dict: "a mapping"}
LONGEST_SHOWN = 60
DIGITS = 6  # of a value that is computed: what a power comes to in its last bits depends on the machine
SUFFIXES = {"%": 1e-2, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
EXACT = 2**53  # below it, a float is the integer that it looks like

#: Former names of keys and of choices. Nothing but error messages knows them.
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
    """Return the value as its declared type has it: an integer becomes a float where one is due, and nothing else.

    Raises:
        ValueError: Saying what the value is, what it should be and what to write.
    """
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{describe(value)}, not {expected(hint)}{_remedy(hint, value)}") from error


@cache
def adapter(hint: Any) -> TypeAdapter[Any]:
    """Return pydantic's strict reader of a declared type."""
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
    """Return a value as `show` has it, or its beginning."""
    text = show(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def show(value: Any) -> str:
    """Return a value as a study file writes it, text in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def short(key: str) -> str:
    """Return a dotted key without its section."""
    return key.partition(".")[2] or key


def assignment(key: str, value: Any) -> str:
    """Return a key and its value as they tell arms apart, such as "memory.depth=2"."""
    return f"{short(key)}={value if isinstance(value, str) else show(value)}"


def label(factors: Mapping[str, Any]) -> str:
    """Return what tells an arm from others, such as "mac memory.depth=2"; "" where nothing varies."""
    return " ".join(value if key in NAMED else assignment(key, value) for key, value in factors.items())


def meant(key: str, valid: Collection[str]) -> str:
    """Return what an unknown key was meant to be: its new name where it has one, else a near one of the valid keys."""
    return f"its name is now {FORMER[key]}" if FORMER.get(key) in valid else nearest(key, valid)


def _remedy(hint: Any, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that can be told."""
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
    """Values of other types that may have been meant."""
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
    """What pydantic would read a text as where it is not strict; None: nothing."""
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(text, strict=False)
    except ValidationError:
        return None
