"""Which combinations of a study count: `where`, `exclude`, the conditions of `when`, and which arm is the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from titans_lab.study.axes import NAMED
from titans_lab.study.derived import DERIVED
from titans_lab.study.expression import Lookup, parse_expression
from titans_lab.study.loader import Node
from titans_lab.study.outline import Problems, unknown
from titans_lab.study.settings import HINTS, listed, settings
from titans_lab.study.values import describe

NAMES = {**HINTS, **dict.fromkeys(NAMED, str | None), **dict.fromkeys(DERIVED, float)}


@dataclass(frozen=True)
class Rule:
    """A condition on a combination.

    Attributes:
        holds: From the value of each name to whether it is met; raises ValueError where it has no answer.
        names: That it asks for.
        place: Where it stands.
        key: What it is: "where", "exclude", and so on.
        keeps: The answer with which a combination stays.
    """

    holds: Callable[[Lookup], bool]
    names: frozenset[str]
    place: str
    key: str
    keeps: bool = True


def check_where(nodes: Iterable[Node], problems: Problems) -> list[Rule]:
    """A rule for each expression."""
    return [rule for node in nodes for rule in expression_rule("where", node, problems)]


def check_exclude(nodes: Iterable[Node], problems: Problems) -> list[Rule]:
    """A rule for each mapping of values that occur together, and for each expression."""
    return [rule for node in nodes for rule in _exclusion(node, problems)]


def expression_rule(key: str, node: Node, problems: Problems, keeps: bool = True) -> Iterator[Rule]:
    """The rule of an expression, if it is one."""
    try:
        if not isinstance(node.value, str):
            raise ValueError(f'{describe(node.plain())}, not an expression; write "model.memory.depth > 1"')
        expression = parse_expression(node.value, NAMES)
    except ValueError as error:
        problems.add(node.place, key, error)
    else:
        yield Rule(expression, expression.names, node.place, key, keeps)


def mapping_rule(key: str, node: Node, problems: Problems, keeps: bool = True) -> Iterator[Rule]:
    """The rule that each of some keys has a value, or one of a list."""
    wanted: dict[str, list[Any]] = {}
    for name, child in node.value.items():
        if name not in NAMES or name in DERIVED:
            problems.add(child.key_place, name, unknown(name, tuple(name for name in NAMES if name not in DERIVED)))
        elif isinstance(child.value, list):
            wanted[name] = [setting.value for setting in listed(NAMES[name], name, child, problems)]
        else:
            wanted[name] = [setting.value for setting in settings(NAMES[name], name, [child], problems)]
    if not node.value:
        problems.add(node.place, key, "an empty mapping, which says nothing; name keys and values")
    yield Rule(
        lambda lookup: all(lookup(name) in values for name, values in wanted.items()),
        frozenset(wanted),
        node.place,
        key,
        keeps,
    )


def _exclusion(node: Node, problems: Problems) -> Iterator[Rule]:
    check = mapping_rule if isinstance(node.value, dict) else expression_rule
    return check("exclude", node, problems, keeps=False)
