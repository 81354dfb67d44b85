"""The study language as a JSON schema, for editors that complete and check."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from titans_lab.study.axes import ARM, STUDY
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import LEAVES, layout
from titans_lab.study.hold import SOLVED_BY
from titans_lab.study.metric import COSTS, MEASURED, Direction, Taken
from titans_lab.study.outline import BLOCK, CONDITIONAL, KEYS, PRESET, TEXTS
from titans_lab.study.search import PrunerName, SamplerName
from titans_lab.study.settings import HINTS
from titans_lab.study.terms import Order

Schema = dict[str, Any]

KINDS = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
WORDS = {
    "question": "What the study asks.",
    "expect": "What it is expected to show, written before it is run.",
    "name": "Its name in the store; else the file's.",
    PRESET: "What all runs start from: a name or a list, the later on top of the earlier.",
    "base": "What every run is, section by section; or another file; or a list of both, the later on top.",
    "grid": "Lists of values by dotted key; every combination is run.",
    "zip": "Lists of values that go together, the first with the first; or a list of such groups.",
    "when": "What holds only under a condition: an expression, and a base, grid or zip.",
    "ablate": "Arms that differ from the base in one respect: a dotted key and its values, or a name and what it sets.",
    "exclude": "Combinations to leave out: values that occur together, or an expression.",
    "where": "An expression that every combination has to meet.",
    "studies": "Sub-studies by name, each on top of what stands beside this key.",
    "seeds": "A count, or a list.",
    "hold": "What is equal in all arms: a width, feed-forward ratio or budget of tokens is solved for.",
    "baseline": "What others are compared with: the name of an arm or a sub-study, or values.",
    "metric": "What arms are compared by.",
    "order": "In which order a sweep launches.",
    "budget": "The time after which a sweep launches nothing more, such as 2h or 1h30m.",
    "search": "What `titans-lab tune` looks for: parameters with distributions, a metric, a sampler, a pruner, limits.",
}


def study_schema() -> Schema:
    """JSON schema, draft 2020-12, of a study file."""
    block = _block()
    terms = {"seeds": {"anyOf": [{"type": "integer", "minimum": 1}, _list({"type": "integer", "minimum": 0})]}}
    terms |= {
        "hold": _hold(),
        "baseline": {"anyOf": [_text(), _ref("chosen")]},
        "budget": _mapping(dict.fromkeys(("wall_time", "device_time"), _text())),
    }
    metric = {"name": _text(), "direction": _of(Direction), "taken": _of(Taken)}
    terms |= {"metric": {"anyOf": [_text(), _mapping(metric)]}, "order": {"enum": list(get_args(Order))}}
    terms |= {"search": _search()}
    nothing = {"type": "null"}
    studies = {"studies": _named({"anyOf": [nothing, _mapping(_described(block, BLOCK))]})}
    texts = {key: _text() for key in TEXTS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of titans-lab",
        **_mapping(_described(texts | block | studies | terms, KEYS)),
        "$defs": {
            "sections": _section(RunConfig),
            "values": _mapping({key: _several(hint) for key, hint in HINTS.items()}),
            "chosen": _mapping(
                {**{key: _any(hint) for key, hint in HINTS.items()}, STUDY: _any(str), ARM: _any(str)},
            ),
        },
    }


def _block() -> dict[str, Schema]:
    """What the keys of a study or a sub-study hold that say which runs there are."""
    part = {"anyOf": [_text(), _ref("sections")]}
    inner = {
        "base": {"anyOf": [*part["anyOf"], _list(part)]},
        "grid": _ref("values"),
        "zip": {"anyOf": [_ref("values"), _list(_ref("values"))]},
    }
    arms = {key: _any(hint) for key, hint in HINTS.items()}
    return {
        **inner,
        PRESET: {"anyOf": [_of(HINTS[PRESET]), _list(_of(HINTS[PRESET]))]},
        "when": _named(_mapping(_described(inner, CONDITIONAL))),
        "ablate": {**_named(_mapping({key: _of(hint) for key, hint in HINTS.items()})), "properties": arms},
        "exclude": _one_or_list({"anyOf": [_text(), _ref("chosen")]}),
        "where": _one_or_list(_text()),
    }


def _hold() -> Schema:
    ways = list(dict.fromkeys(way for ways in SOLVED_BY.values() for way in ways))
    what = {"enum": list(SOLVED_BY)}
    return {"anyOf": [what, {**_mapping({"what": what, "by": _one_or_list({"enum": ways})}), "required": ["what"]}]}


def _search() -> Schema:
    """The block `search`; options of samplers and pruners are their own."""
    ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    spread = {"log": _of(bool), "step": {"type": "number"}, "when": _text()}
    parts = {"float": ends, "int": ends, "choice": {"type": "array", "minItems": 1}, **spread}
    figure = {"anyOf": [_text(), _mapping({"name": _text(), "direction": _of(Direction)})]}
    bounds = _mapping({"min": {"type": "number"}, "max": {"type": "number"}})
    count = {"type": "integer", "minimum": 1}
    point = _mapping({key: _of(hint) for key, hint in HINTS.items()})
    schemas = {
        "space": _mapping(dict.fromkeys(LEAVES, _mapping(parts))),
        "metric": _one_or_list(figure),
        "trials": count,
        "timeout": _text(),
        "seeds": count,
        "sampler": _chosen(SamplerName),
        "pruner": _chosen(PrunerName),
        "constraints": _mapping(dict.fromkeys((*COSTS, *MEASURED), bounds)),
        "enqueue": _one_or_list(point),
        "warm_start": _of(bool),
        "finalists": {"anyOf": [count, _mapping({"count": count, "seeds": count})]},
    }
    return {**_mapping(schemas), "required": ["space"]}


def _chosen(names: Any) -> Schema:
    """A name, or a mapping with it and options."""
    return {"anyOf": [_of(names), {"type": "object", "properties": {"name": _of(names)}, "required": ["name"]}]}


def _described(parts: Mapping[str, Schema], keys: Iterable[str]) -> dict[str, Schema]:
    return {key: {"description": WORDS[key], **parts[key]} for key in keys}


def _section(config: Any) -> Schema:
    """A dataclass as a mapping, with what its docstring says of each field."""
    words = attributes(config)
    fields = {name: {"description": words.get(name, ""), **_field(hint, field)} for field, name, hint in layout(config)}
    return _mapping(fields)


def _field(hint: Any, field: dataclasses.Field[Any]) -> Schema:
    if dataclasses.is_dataclass(hint):
        return _section(hint)
    return _of(hint) | ({} if field.default is dataclasses.MISSING else {"default": field.default})


def attributes(config: Any) -> dict[str, str]:
    """What the docstrings of a class and of those that it extends say, in Google's style, of each attribute."""
    entries: list[tuple[str, str]] = []
    for each in reversed(inspect.getmro(config)):
        _, _, listed = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
        entries += re.findall(r"^    (\w+): (.*(?:\n      .*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _of(hint: Any) -> Schema:
    """A declared type."""
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    return {"type": KINDS[hint]} if hint in KINDS else {"anyOf": [_of(each) for each in get_args(hint)]}


def _several(hint: Any) -> Schema:
    """A list of values, or a space of them."""
    ends = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    return {"anyOf": [_list(_of(hint)), {**_mapping({"logspace": ends}), "required": ["logspace"]}]}


def _any(hint: Any) -> Schema:
    """A value, or several."""
    return {"anyOf": [_of(hint), _several(hint)]}


def _one_or_list(inner: Schema) -> Schema:
    return {"anyOf": [inner, _list(inner)]}


def _list(inner: Schema) -> Schema:
    return {"type": "array", "items": inner, "minItems": 1}


def _mapping(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _named(inner: Schema) -> Schema:
    """A mapping from any names."""
    return {"type": "object", "additionalProperties": inner}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text() -> Schema:
    return {"type": "string"}
