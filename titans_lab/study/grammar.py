"""The language of studies: one table of its keys.

The parser, the overrides of the command line and the JSON schema derive from `KEYS`. The keys of a run itself derive
from the configurations of `titans_lab.run.config`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, is_dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from titans_lab.run.config import Leaf, RunConfig, attributes, layout, leaves
from titans_lab.run.derived import SOLVED_BY, Hold
from titans_lab.run.metric import COSTS, MEASURED, Direction, Taken
from titans_lab.run.values import NAMED, PRESET, brief
from titans_lab.study.containers import ByKey, Named, Several, Struct, described
from titans_lab.study.expression import parse_expression
from titans_lab.study.parts import (
    EMPTY,
    Ablation,
    AnyText,
    Base,
    Combination,
    Conditions,
    Presets,
    Seeds,
    StudyPart,
    check_arm_name,
)
from titans_lab.study.presets import PRESETS
from titans_lab.study.reading import Key, Language, Schema, Setting, mapping_schema
from titans_lab.study.shapes import Choices, Duration, Levels, Predicate, Value, count
from titans_lab.study.terms import (
    Budget,
    Finalists,
    Library,
    Limit,
    Order,
    Parameters,
    PrunerName,
    SamplerName,
    SearchTerms,
)

LONGEST_WORDS = 60  # of a variant's name: characters of its overrides
LONGEST_VARIANT = 112  # characters of a name and of its overrides, so that a file's ending still fits
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")
NAME_RULE = "at most 100 letters, digits, dots, dashes and underscores, with no dot in front"
METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_TRIALS = 100_000
WAYS = Literal[tuple(dict.fromkeys(way for ways in SOLVED_BY.values() for way in ways))]  # type: ignore[valid-type]
PART, ANY = frozenset({"sub-study"}), frozenset({"sub-study", "when"})


def study_name(name: str) -> str:
    """Return the name of a study. Raise ValueError where it cannot name a file of the store."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{brief(name)} cannot name a file of the store; set it to {NAME_RULE}")
    return name


def variant_name(name: str, overrides: Sequence[str]) -> str:
    """Return the name of a study with overrides, which can name a file: `depth--train.tokens-150_000`.

    The order of the overrides plays no part. Where a text has other characters than a file's name, or is long, a hash
    tells variants apart.
    """
    if not overrides:
        return name
    texts, room = sorted(overrides), min(LONGEST_WORDS, LONGEST_VARIANT - len(name))
    words = "--".join(re.sub(r"[^\w.]+", "-", text, flags=re.ASCII) for text in texts)
    if len(words) > room or not all(re.fullmatch(r"[\w.]+=[\w.]+", text, re.ASCII) for text in texts):
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
        words = f"{words[: room - len(digest)].rstrip('-.')}-{digest}"
    return f"{name}--{words}"


def _metric_name(name: str) -> str:
    if not METRIC_NAME.fullmatch(name):
        raise ValueError(f"{brief(name)} is not the name of a metric; write that of a column, such as loss or accuracy")
    return name


def _limit(name: str, min: float | None = None, max: float | None = None, place: str = "") -> Limit:
    return Limit(name, min, max, place)


def _search(enqueue: Iterable[Setting] = (), **terms: Any) -> SearchTerms:
    return SearchTerms(enqueue=tuple(point.value for point in enqueue), **terms)


NAMES = Key("name", Value(str, _metric_name), "The name of a metric.")
DIRECTION = Key(
    "direction", Value(Direction), "Whether to minimize or maximize. By default the metric's usual direction."
)
BOUNDS = (
    Key("min", Value(float), "The least value that is allowed."),
    Key("max", Value(float), "The greatest value that is allowed."),
)

SEARCH = (
    Key("space", Parameters(), "The parameters: a distribution for each dotted key."),
    Key(
        "metric",
        Several(
            Struct((NAMES, DIRECTION), dict, "name"), "an empty list; name a metric such as loss, or remove the key"
        ),
        "The objective, by default the study's metric, or a list of several objectives.",
    ),
    Key("trials", count(MOST_TRIALS, "20"), "The number of trials of each arm, by default 20."),
    Key("timeout", Duration(), "The duration after which no trial starts, such as 2h."),
    Key("seeds", count(MOST_TRIALS, "20"), "The number of seeds of a trial, by default 1. Its value is their mean."),
    Key("sampler", Library(SamplerName), "The sampler, by default tpe. Options: {name: ..., option: ...}."),
    Key("pruner", Library(PrunerName), "The pruner, which stops unpromising runs, by default none."),
    Key(
        "constraints",
        Struct(
            tuple(
                Key(name, Struct(BOUNDS, partial(_limit, name), placed=True), "The bounds of a metric.")
                for name in (*COSTS, *MEASURED)
            ),
            lambda **limits: tuple(limits.values()),
        ),
        "Bounds on metrics: {params: {max: 1e6}}.",
    ),
    Key(
        "enqueue",
        Several(
            ByKey(Value, empty="a mapping of nothing; name keys and values", other="not values; write {train.lr: 6e-3}")
        ),
        "The points to try first.",
    ),
    Key(
        "proxy",
        ByKey(Value, empty="a mapping of nothing; name keys and values, or remove it"),
        "Values of trials in the place of the study's, such as {train.tokens: 100_000}. Finalists have the study's.",
    ),
    Key("warm_start", Value(bool), "Whether the sampler learns from runs that the store has."),
    Key(
        "finalists",
        Struct(
            (
                Key("count", count(1000, "3"), "The number of best trials to repeat."),
                Key("seeds", count(1000, "3"), "The number of seeds, which the search has not used."),
                Key(
                    "base",
                    Value(bool),
                    "Whether each arm is also trained without its search, by default true.",
                ),
            ),
            Finalists,
            "count",
        ),
        "The best trials to repeat with fresh seeds.",
    ),
)


def _effect(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(f"{value:g} is not above 0; give a difference in the unit of the metric, such as 0.05")
    return value


def _table() -> tuple[Key, ...]:
    return KEYS


#: Every key of a study. Values of a run are set below `base`, or by their dotted keys in the others.
KEYS: tuple[Key, ...] = (
    Key("question", Value(str), "What the study asks."),
    Key("expect", Value(str), "The expected result, written before the study is run."),
    Key(
        "effect",
        Value(float, _effect, {"exclusiveMinimum": 0}),
        "The smallest difference in the metric that is worth finding. `plan` warns where the seeds cannot find it.",
        override="whole",
    ),
    Key("name", Value(str, study_name), "The study's name in the store. By default it is the file's name."),
    Key(
        PRESET,
        Presets(),
        "One or more base configurations by name. Later presets override earlier ones; `base` overrides all of them.",
        within=PART,
        override="whole",
    ),
    Key("base", Base(_table), "The values of all runs: nested sections, another file, or a list of both.", within=ANY),
    Key(
        "plugins",
        Several(Value(str), "an empty list, which says nothing; name files or folders, or remove it"),
        "Mixers and tasks of your own: Python files or folders next to the study, or installed plugins by name.",
        override="whole",
    ),
    Key(
        "grid",
        ByKey(Levels, of="hints", empty=EMPTY, lists=True),
        "Lists of values by dotted key. Every combination is a run.",
        within=ANY,
        override="both",
    ),
    Key("seeds", Seeds(), "The number of seeds, or a list of seeds.", override="whole"),
    Key(
        "zip",
        Several(ByKey(partial(Levels, repeats=True), of="hints", empty=EMPTY, lists=True), EMPTY),
        "Lists of values that are varied together: the first of each list, then the second. Or a list of such groups.",
        within=ANY,
        override="whole",
    ),
    Key(
        "when",
        Conditions(_table),
        "Settings under a condition: a mapping from an expression to a base, grid or zip.",
        within=PART,
    ),
    Key(
        "ablate",
        Ablation(),
        "Arms that differ from the base in one respect: a dotted key and its values, or a name and what it sets.",
        within=PART,
        override="both",
    ),
    Key(
        "exclude",
        Several(Combination(Predicate())),
        "Combinations to leave out: values that occur together, or an expression.",
        within=PART,
        override="whole",
    ),
    Key(
        "where",
        Several(Predicate()),
        "One or more expressions that every combination must meet.",
        within=PART,
        override="whole",
    ),
    Key(
        "studies",
        Named(
            StudyPart("sub-study", _table),
            check_arm_name,
            "empty, which says nothing; name sub-studies below it, or remove it",
        ),
        "Sub-studies by name. Each inherits all other keys and overrides them.",
    ),
    Key(
        "hold",
        Struct(
            (
                Key("what", Value(Literal[tuple(SOLVED_BY)]), "The cost that is equal."),
                Key("by", Several(Value(WAYS)), "The keys to solve for, in order."),
            ),
            lambda what, by=(): Hold(what, tuple(each.value for each in by)),
            "what",
        ),
        "The cost that is equal in all arms. A width, feed-forward ratio or budget of tokens is solved for.",
        override="both",
    ),
    Key(
        "baseline",
        Combination(AnyText()),
        "The arms that others are compared with: the name of an arm or a sub-study, or values.",
        override="whole",
    ),
    Key(
        "metric",
        Struct(
            (NAMES, DIRECTION, Key("taken", Value(Taken), "The final value of a run, or its best validation.")),
            dict,
            "name",
        ),
        "The metric that compares arms. By default it is the task's own metric.",
        override="both",
    ),
    Key("order", Value(Order), "The order in which a sweep launches runs.", override="whole"),
    Key(
        "budget",
        Struct(
            (
                Key("wall_time", Duration(), "The time from the start of the sweep, such as 2h or 1h30m."),
                Key("device_time", Duration(), "The time of work of all devices together."),
            ),
            Budget,
        ),
        "The time after which a sweep launches no further run.",
        override="both",
    ),
    Key(
        "search",
        Struct(
            SEARCH,
            _search,
            needs=("space", "name parameters, as in {train.lr: {float: [1e-3, 1e-2]}}"),
            placed=True,
            faults=SearchTerms.faults,
        ),
        "The search of `titans-lab tune`: parameters with distributions, objectives, a sampler, a pruner, constraints.",
        override="both",
    ),
)


def language() -> Language:
    """Return the names that a study may use, with the mixers and tasks that are registered now."""
    return _language(tuple(leaves().items()))


@lru_cache(maxsize=8)
def _language(known: tuple[tuple[str, Leaf], ...]) -> Language:
    types = {key: leaf.hint for key, leaf in known}
    hints = types | {PRESET: Literal[tuple(PRESETS)]}
    names = {**hints, **dict.fromkeys(NAMED, str | None), **dict.fromkeys(COSTS, float)}
    return Language(
        leaves=types,
        hints=hints,
        names=names,
        parse=lambda text: parse_expression(text, names),
        sections=tuple(dict.fromkeys(key[:end] for key in types for end, letter in enumerate(key) if letter == ".")),
        outside=frozenset(key for key, leaf in known if not leaf.identity),
    )


def study_schema() -> Schema:
    """Return the JSON schema, draft 2020-12, of a study file, for editors that complete and check."""
    words = language()
    chosen = {name: Choices(hint).schema(words) for name, hint in words.names.items() if name not in COSTS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of titans-lab",
        **described(KEYS, words),
        "$defs": {"sections": _section(RunConfig), "chosen": mapping_schema(chosen)},
    }


def _section(config: Any) -> Schema:
    """Return the schema of a configuration, with the descriptions of its fields from its docstring."""
    words, found = attributes(config), {}
    for each, name, hint in layout(config):
        default = {} if each.default is MISSING else {"default": each.default}
        what = _section(hint) if is_dataclass(hint) else Value(hint).schema(language()) | default
        summary = (hint.__doc__ or "").partition("\n")[0] if is_dataclass(hint) else ""
        found[name] = {"description": words.get(name, summary), **what}
    return mapping_schema(found)
