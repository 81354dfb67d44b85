"""The terms of a study besides its runs: a budget, an order, and a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, get_args

from titans_lab.run.values import DIGITS, describe, meant, show, typed
from titans_lab.study.containers import read_keys
from titans_lab.study.expression import Expression, Lookup
from titans_lab.study.reading import Key, Language, Node, Reading, Schema, Setting, Shape, mapping_schema
from titans_lab.study.shapes import Levels, Predicate, Value

Order = Literal["listed", "shuffled"]
SamplerName = Literal["tpe", "gp", "cmaes", "nsga2", "random", "qmc", "grid"]
PrunerName = Literal["none", "median", "asha", "hyperband"]
Kind = Literal["float", "int", "choice"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERAL = ("tpe", "gp", "nsga2", "random", "qmc", "grid")  # samplers that support several objectives
EXACT = 12  # digits of a value that is a sum of steps
MOST_VALUES = 1_000_000  # in a range with a step
EXAMPLE = "write {float: [1e-4, 1e-2], log: true}, {int: [1, 4]} or {choice: [8, 16]}"


@dataclass(frozen=True)
class Budget:
    """The time after which a sweep launches no run. Runs that have started are finished.

    Attributes:
        wall_time: Seconds from the start of the sweep. None: no limit.
        device_time: Seconds of work of all devices together, which are cores without a GPU. None: no limit.
    """

    wall_time: float | None = None
    device_time: float | None = None


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search.

    Attributes:
        key: The dotted key that it sets.
        kind: The kind of its values.
        low: The lower end of a range, included.
        high: The upper end, included. With a step, the last value that the steps reach.
        log: Whether values are drawn uniformly on a logarithmic scale.
        step: The step between two values of a range. None: any float, or every integer.
        choices: The values of a choice.
        when: The condition under which the parameter exists. None: always.
        place: The place of its key in the study.
    """

    key: str
    kind: Kind
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: Expression | None = None
    place: str = ""

    def __post_init__(self) -> None:
        low, high, step = self.low, self.high, self.step
        if self.kind == "choice":
            if self.log or step is not None:
                raise ValueError(f"{'log' if self.log else 'step'} is for float and int; remove it")
            return
        if low > high:
            raise ValueError(f"the range is upside down; write [{show(high)}, {show(low)}]")
        if low == high:
            raise ValueError(f"the range is the one value {show(low)}; set it under base, or widen the range")
        if self.log and low <= 0:
            raise ValueError(f"{show(low)} has no logarithm, for it is not above 0; raise it, or remove log")
        if step is None:
            return
        if self.log:
            raise ValueError("log and step do not go together; remove one, or list values as a choice")
        if not 0 < step <= high - low:
            raise ValueError(f"a step of {show(step)} does not fit in from {show(low)} to {show(high)}")
        if (high - low) / step > MOST_VALUES:
            raise ValueError(f"a step of {show(step)} makes more than {MOST_VALUES} values; widen it, or remove it")
        last = low + self._steps * step
        object.__setattr__(self, "high", float(f"{last:.{EXACT}g}") if self.kind == "float" else last)

    @cached_property
    def values(self) -> tuple[Any, ...] | None:
        """Return all values, in order, or None where they cannot be counted."""
        if self.kind == "choice":
            return self.choices
        if self.step is None and self.kind == "float":
            return None
        if self.step is None:
            return tuple(range(int(self.low), int(self.high) + 1))
        return tuple(self.rounded(self.low + at * self.step) for at in range(self._steps + 1))

    @property
    def _steps(self) -> int:
        """Return the number of whole steps in the range, allowing for rounding errors."""
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + 1e-9)

    def rounded(self, value: Any) -> Any:
        """Return a value rounded to few digits, so that ids do not depend on the last bits of a float."""
        if self.kind != "float":
            return value
        digits = DIGITS if self.step is None else EXACT
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def has(self, value: Any) -> bool:
        """Return whether a value can be drawn, up to the last bits of a float."""
        if self.kind == "choice":
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.values is None or any(math.isclose(value, each, rel_tol=1e-9) for each in self.values)

    def exists(self, lookup: Lookup) -> bool:
        """Return whether the parameter's condition holds. Raise ValueError where it has no answer."""
        return self.when is None or self.when(lookup)

    def plain(self) -> dict[str, Any]:
        """Return the parameter as plain data without its place, for the identity of a search."""
        what = {self.kind: list(self.choices or (self.low, self.high)), "log": self.log, "step": self.step}
        return {"key": self.key, **what, "when": self.when.text if self.when else ""}


@dataclass(frozen=True)
class Chosen:
    """The name of a sampler or a pruner, and its options with their places. Optuna checks the options."""

    name: str
    options: Mapping[str, Setting] = field(default_factory=dict)
    place: str = ""

    def plain(self) -> dict[str, Any]:
        """Return name and options as plain data, for the identity of a search."""
        return {"name": self.name, **{key: setting.value for key, setting in self.options.items()}}


@dataclass(frozen=True)
class Limit:
    """A constraint on a metric.

    Attributes:
        name: The metric, one of `titans_lab.run.metric.MEASURED` or `COSTS`.
        low: The least value that is allowed. None: no bound.
        high: The greatest value that is allowed. None: no bound.
        place: The place of its key in the study.
    """

    name: str
    low: float | None = None
    high: float | None = None
    place: str = ""

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"min {show(self.low)} is above max {show(self.high)}; swap them")

    def excess(self, value: float) -> float:
        """Return the share of the bound by which a value violates it. 0 or less: the constraint is met."""
        over = -1.0 if self.high is None else (value - self.high) / (abs(self.high) or 1)
        under = -1.0 if self.low is None else (self.low - value) / (abs(self.low) or 1)
        return max(over, under)


@dataclass(frozen=True)
class Finalists:
    """The repetitions at the end of a search.

    Attributes:
        count: The number of best trials that are repeated.
        seeds: The number of fresh seeds.
        base: Whether each arm is also trained as it is without the search.
    """

    count: int = 3
    seeds: int = 3
    base: bool = True


@dataclass(frozen=True)
class SearchTerms:
    """The key `search` of a study.

    Attributes:
        space: The parameters, in the order in which they are drawn.
        metric: The objectives, each as arguments of `titans_lab.run.metric.find`. Empty: the study's metric, else the
            task's.
        trials: The number of trials of each arm.
        timeout: Seconds after which no trial starts. None: no limit.
        seeds: The number of seeds of a trial, from 0. The value of a trial is the mean over seeds.
        sampler: The sampler, which proposes points.
        pruner: The pruner, which stops unpromising runs.
        constraints: The constraints. A trial that violates one that is known before a run is never started.
        enqueue: The points to try first.
        proxy: Values of trials in the place of the study's, such as fewer tokens. Finalists have the study's.
        warm_start: Whether the sampler learns from runs that the store has. None: only if there is one arm.
        finalists: The trials that are repeated at the end. None: none.
        place: The place of the key.
    """

    space: tuple[Dimension, ...]
    metric: tuple[Setting, ...] = ()
    trials: int = 20
    timeout: float | None = None
    seeds: int = 1
    sampler: Chosen = Chosen("tpe")
    pruner: Chosen = Chosen("none")
    constraints: tuple[Limit, ...] = ()
    enqueue: tuple[Mapping[str, Setting], ...] = ()
    proxy: Mapping[str, Setting] = field(default_factory=dict)
    warm_start: bool | None = None
    finalists: Finalists | None = None
    place: str = ""

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield place, key and message of values that contradict each other."""
        names = [each.value["name"] for each in self.metric]
        for number, each in enumerate(self.metric):
            if names[number] in names[:number]:
                yield each.place, "search.metric", f"{names[number]} twice; remove one"
        if len(names) > 1 and self.pruner.name != "none":
            yield self.pruner.place, "search.pruner", "stops by one objective, and there are several; remove it"
        if len(names) > 1 and self.sampler.name not in SEVERAL:
            words = f"{self.sampler.name} takes one objective; write {', '.join(SEVERAL)}"
            yield self.sampler.place, "search.sampler", words
        known = {dimension.key: dimension for dimension in self.space}
        for key, setting in self.proxy.items():
            if key in known:
                yield setting.key_place, f"search.proxy.{key}", "a parameter of this search; remove it here or there"
        for key, dimension in known.items() if self.sampler.name == "grid" else ():
            if dimension.values is None:
                words = "a grid needs values that can be counted; give it a step, or a choice"
                yield dimension.place, f"search.space.{key}", words
        for key, setting in (item for point in self.enqueue for item in point.items()):
            if key not in known:
                yield setting.key_place, key, f"not a parameter of this search; {meant(key, tuple(known))}"
            elif not known[key].has(setting.value):
                yield setting.place, key, f"{show(setting.value)} is not in its distribution; choose one that is"


@dataclass(frozen=True)
class Library(Shape):
    """A sampler or a pruner: its name, or a mapping of its name and options."""

    names: Any

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the sampler or pruner."""
        parts = node.value if isinstance(node.value, dict) else {"name": node}
        if "name" not in parts:
            reading.problems.add(node.place, key, "says no name; add it, or remove the key")
            return None
        name = Value(self.names).read(parts["name"], f"{key}.name", reading)
        options = {each: Setting(part.plain(), part.key_place) for each, part in parts.items() if each != "name"}
        return name and Setting(Chosen(name.value, options, name.place), node.place, node.key_place)

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the name of an option."""
        return path, ""

    def schema(self, language: Language) -> Schema:
        """Return the schema of either."""
        name = Value(self.names).schema(language)
        return {"anyOf": [name, {"type": "object", "properties": {"name": name}, "required": ["name"]}]}


class Parameters(Shape):
    """The space of a search: a distribution for each dotted key. It is read as a tuple of dimensions."""

    def read(self, node: Node, key: str, reading: Reading) -> Setting | None:
        """Return the valid dimensions. A condition may use only parameters before its own."""
        if not isinstance(node.value, dict) or not node.value:
            reading.problems.add(node.place, key, f"{describe(node.plain())}, not a mapping of keys; {EXAMPLE}")
            return None
        found: dict[str, Dimension] = {}
        for name, child in node.value.items():
            if dimension := self._dimension(name, child, f"{key}.{name}", reading):
                for asked in sorted((dimension.when.names if dimension.when else frozenset()) & node.value.keys()):
                    if asked not in found:
                        words = f"its condition asks for {asked}; put that before it"
                        reading.problems.add(child.key_place, f"{key}.{name}", words)
                found[name] = dimension
        return Setting(tuple(found.values()), node.place, node.key_place)

    def _dimension(self, name: str, node: Node, key: str, reading: Reading) -> Dimension | None:
        words, problems = reading.language, reading.problems
        if name not in words.leaves:
            problems.add(node.key_place, key, words.unknown(name, words.leaves))
            return None
        if name in words.outside:
            problems.add(node.key_place, key, "runs that differ in it alone are the same run; remove it")
            return None
        parts = dict(node.value) if isinstance(node.value, dict) else {}
        kinds = [kind for kind in KINDS if kind in parts]
        if len(kinds) != 1:
            said = " and ".join(kinds) if kinds else "no distribution"
            problems.add(node.place, key, f"{said}; {EXAMPLE}")
            return None
        kind, hint, before = kinds[0], words.leaves[name], problems.count
        given = parts.pop(kind)
        more = read_keys(parts, distribution(kind), f"{key}.", reading)
        if kind == "choice":
            levels = Levels(hint).read(given, name, reading)
            values: dict[str, Any] = {"choices": tuple(level.value for level in levels.value)} if levels else {}
        else:
            ends = Value(list, partial(_ends, name, hint, kind)).read(given, key, reading)
            values = dict(zip(("low", "high"), ends.value, strict=True)) if ends else {}
        if problems.count > before:
            return None
        try:
            rest = {part: setting.value for part, setting in more.items()}
            return Dimension(name, kind, **values, **rest, place=node.key_place)
        except ValueError as error:
            problems.add(given.place, key, error)
            return None

    def entry(self, path: str) -> tuple[str, str] | None:
        """Return the whole path: a dotted key is one entry."""
        return path, ""

    def schema(self, language: Language) -> Schema:
        """Return the schema of a mapping from each key."""
        ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        kinds = {"float": ends, "int": ends, "choice": {"type": "array", "minItems": 1}}
        each = mapping_schema(kinds | {key.name: key.shape.schema(language) for key in distribution("float")})
        return mapping_schema({name: each for name in language.leaves if name not in language.outside})


def distribution(kind: str) -> tuple[Key, ...]:
    """Return the keys that a distribution may have besides its kind."""
    early = Predicate(early="not known before all is drawn; use keys of a run")
    return (
        Key("log", Value(bool), "Whether values are drawn uniformly on a logarithmic scale."),
        Key("step", Value(float if kind == "float" else int), "The step between two values."),
        Key("when", early, "The condition under which the parameter exists."),
    )


def _ends(name: str, hint: Any, kind: str, given: list[Any]) -> list[Any]:
    holds = {hint, *get_args(hint)}
    if not holds & ({int, float} if kind == "int" else {float}):
        raise ValueError(f"{name} does not hold a {kind}; write {'int' if int in holds else 'choice'}")
    if len(given) != 2:
        raise ValueError(f"{describe(given)}, not the two ends of a range; {EXAMPLE}")
    return [typed(int if kind == "int" else float, end) for end in given]
