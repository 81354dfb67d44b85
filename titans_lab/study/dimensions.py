"""What a search draws from: a distribution for each dotted key, some of them only under the values of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from titans_lab.study.derived import DERIVED
from titans_lab.study.fields import LEAVES
from titans_lab.study.loader import Node
from titans_lab.study.outline import Problems, unknown
from titans_lab.study.rules import Rule, expression_rule
from titans_lab.study.settings import DIGITS, Setting, listed
from titans_lab.study.terms import parts_of, values_of
from titans_lab.study.values import describe, show, typed

Kind = Literal["float", "int", "choice"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUMBERS: dict[str, type[int] | type[float]] = {"float": float, "int": int}
EXAMPLE = "write {float: [1e-4, 1e-2], log: true}, {int: [1, 4]} or {choice: [8, 16]}"
EXACT = 12  # digits of a value that steps lead to
MOST_VALUES = 1_000_000  # of a range with a step

Lookup = Callable[[str], Any]


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search.

    Attributes:
        key: The dotted key that it sets.
        kind: Of its values.
        low: Of a range, both ends included.
        high: Of a range; with a step, the last value that the steps reach.
        log: Whether the logarithm of the value is drawn evenly.
        step: Between two values of a range; None: any value of a float, each integer of an int.
        choices: Of `choice`.
        when: The condition under which the parameter exists; None: always.
        condition: The same, as it is written.
        place: Where it stands.
    """

    key: str
    kind: Kind
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: Rule | None = None
    condition: str = ""
    place: str = ""

    @cached_property
    def values(self) -> tuple[Any, ...] | None:
        """All values, in order; None where they are not to be counted."""
        if self.kind == "choice":
            return self.choices
        step = self.step or (1 if self.kind == "int" and not self.log else None)
        if self.kind == "int" and self.log:
            return tuple(range(int(self.low), int(self.high) + 1))
        if step is None:
            return None
        return tuple(self.rounded(self.low + at * step) for at in range(steps_of(self.low, self.high, step) + 1))

    def rounded(self, value: Any) -> Any:
        """A value as runs get it: few digits of a float, so that ids do not hang on its last bits; all of a step's."""
        if self.kind != "float":
            return value
        digits = DIGITS if self.step is None else EXACT
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def has(self, value: Any) -> bool:
        """Whether a value can be drawn, but for the last bits of a float."""
        if self.kind == "choice":
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.values is None or any(math.isclose(value, each, rel_tol=1e-9) for each in self.values)

    def exists(self, lookup: Lookup) -> bool:
        """Whether its condition holds. Raises ValueError where that has no answer."""
        return self.when is None or self.when.holds(lookup)

    def plain(self) -> dict[str, Any]:
        """As plain data, without its place: what tells two searches apart."""
        what = {self.kind: list(self.choices or (self.low, self.high)), "log": self.log, "step": self.step}
        return {"key": self.key, **what, "when": self.condition}


def steps_of(low: float, high: float, step: float) -> int:
    """Whole steps from one end to the other, with room for what decimals lose in binary."""
    return math.floor((high - low) / step + 1e-9)


def check_dimensions(node: Node, problems: Problems) -> tuple[Dimension, ...]:
    """The space of a search, in order; a condition asks for parameters that come before it."""
    if not isinstance(node.value, dict) or not node.value:
        problems.add(node.place, "search.space", f"{describe(node.plain())}, not a mapping of keys; {EXAMPLE}")
        return ()
    found: dict[str, Dimension] = {}
    for key, child in node.value.items():
        for dimension in _dimension(key, child, problems):
            for name in sorted((dimension.when.names if dimension.when else frozenset()) & node.value.keys()):
                if name not in found:
                    problems.add(child.key_place, _at(key), f"its condition asks for {name}; put that before it")
            found[key] = dimension
    return tuple(found.values())


def _dimension(key: str, node: Node, problems: Problems) -> Iterator[Dimension]:
    before = problems.count
    if key not in LEAVES:
        problems.add(node.key_place, _at(key), unknown(key, tuple(LEAVES)))
        return
    if not LEAVES[key].identity:
        problems.add(node.key_place, _at(key), "runs that differ in it alone are the same run; remove it")
        return
    parts = parts_of(node, _at(key), None, (*KINDS, "log", "step", "when"), problems) if _says(node) else {}
    kinds = [kind for kind in KINDS if kind in parts]
    if len(kinds) != 1:
        said = " and ".join(kinds) if kinds else "no distribution"
        problems.add(node.place, _at(key), f"{said}; {EXAMPLE}")
        return
    when = next(_condition(key, parts["when"], problems), None) if "when" in parts else None
    read = _choice if kinds[0] == "choice" else _range
    what = read(key, kinds[0], parts, problems)
    if problems.count == before:
        condition = str(parts["when"].value) if when else ""
        yield Dimension(key, kinds[0], when=when, condition=condition, place=node.key_place, **what)


def _says(node: Node) -> bool:
    return isinstance(node.value, dict) and bool(node.value)


def _condition(key: str, node: Node, problems: Problems) -> Iterator[Rule]:
    for rule in expression_rule(f"{_at(key)}.when", node, problems):
        if derived := rule.names & DERIVED.keys():
            words = ", ".join(sorted(derived))
            problems.add(rule.place, rule.key, f"{words}: not known before all is drawn; use keys of a run")
        yield rule


def _choice(key: str, kind: str, parts: Mapping[str, Node], problems: Problems) -> dict[str, Any]:
    for other in ("log", "step"):
        if other in parts:
            problems.add(parts[other].key_place, _at(key), f"{other} is for float and int; remove it")
    return {"choices": tuple(level.value for level in listed(LEAVES[key].hint, key, parts[kind], problems))}


def _range(key: str, kind: str, parts: Mapping[str, Node], problems: Problems) -> dict[str, Any]:
    number = NUMBERS[kind]
    holds = {LEAVES[key].hint, *get_args(LEAVES[key].hint)}
    if not holds & ({int, float} if kind == "int" else {float}):
        other = "int" if int in holds else "choice"
        problems.add(parts[kind].key_place, _at(key), f"{key} does not hold a {kind}; write {other}")
        return {}
    given = values_of(parts, _at(key), {"log": bool, "step": number}, problems)
    log, step = (given[name].value if name in given else None for name in ("log", "step"))
    place = parts[kind].place
    try:
        low, high = _ends(number, parts[kind])
        _check_range(low, high, bool(log), step)
    except ValueError as error:
        problems.add(place, _at(key), error)
        return {}
    if step:
        high = (
            float(f"{low + steps_of(low, high, step) * step:.12g}") if kind == "float" else high - (high - low) % step
        )
    return {"low": low, "high": high, "log": bool(log), "step": step}


def _ends(number: type, node: Node) -> tuple[Any, Any]:
    ends = node.plain()
    if not isinstance(ends, list) or len(ends) != 2:
        raise ValueError(f"{describe(ends)}, not the two ends of a range; {EXAMPLE}")
    return typed(number, ends[0]), typed(number, ends[1])


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"the range is upside down; write [{show(high)}, {show(low)}]")
    if low == high:
        raise ValueError(f"the range is the one value {show(low)}; set it under base, or widen the range")
    if log and low <= 0:
        raise ValueError(f"{show(low)} has no logarithm, for it is not above 0; raise it, or remove log")
    if step is not None and log:
        raise ValueError("log and step do not go together; remove one, or list values as a choice")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"a step of {show(step)} does not fit in from {show(low)} to {show(high)}")
    if step is not None and (high - low) / step > MOST_VALUES:
        raise ValueError(f"a step of {show(step)} makes more than {MOST_VALUES} values; widen it, or remove it")


def check_values(nodes: Mapping[str, Node], space: tuple[Dimension, ...], problems: Problems) -> dict[str, Setting]:
    """Values that a file gives to parameters of a space."""
    known = {dimension.key: dimension for dimension in space}
    found: dict[str, Setting] = {}
    for key, node in nodes.items():
        if key not in known:
            where = "search.space" if key in LEAVES else unknown(key, tuple(known))
            problems.add(node.key_place, key, f"not a parameter of this search: {where}; name one of its space")
            continue
        for setting in _typed_values(key, node, problems):
            if known[key].has(setting.value):
                found[key] = setting
            else:
                problems.add(node.place, key, f"{show(setting.value)} is not in its distribution; choose one that is")
    return found


def _typed_values(key: str, node: Node, problems: Problems) -> Iterator[Setting]:
    try:
        yield Setting(typed(LEAVES[key].hint, node.plain()), node.place)
    except ValueError as error:
        problems.add(node.place, key, error)


def _at(key: str) -> str:
    return f"search.space.{key}"
