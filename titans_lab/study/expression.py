"""Parse expressions of a study, such as `model.memory.depth > 1 and params < 1e6`. They are never run as Python."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType
from typing import Any

from titans_lab.run.values import LONGEST_SHOWN, brief, describe, meant, typed

Lookup = Callable[[str], Any]  # from a name to its value
Part = Callable[[Lookup], Any]

LONGEST = 1000  # characters
DEEPEST = 50  # levels of nesting
LITERALS = (int, float, str, bool, NoneType)
CONSTANTS = {"true": True, "false": False, "null": None}
NUMBERS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
RELATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
SAME = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
ALLOWED = "an expression has names, numbers, quoted text, + - * / // %, == != < <= > >=, in [...], and, or, not"


@dataclass(frozen=True)
class Expression:
    """A parsed condition on the values of names.

    Attributes:
        text: The text of the expression.
        names: The names that it uses.
    """

    text: str
    names: frozenset[str]
    part: Part

    def __call__(self, lookup: Lookup) -> bool:
        """Return whether the condition holds. Raise ValueError where it has no answer."""
        try:
            found = self.part(lookup)
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"{brief(self.text)} has no value: {error}") from error
        if not isinstance(found, bool):
            raise ValueError(f"{brief(self.text)} comes to {brief(found)}, not to true or false; compare it")
        return found


def parse_expression(text: str, hints: Mapping[str, Any]) -> Expression:
    """Parse a text and return its expression.

    Args:
        text: The text, of at most 1000 characters.
        hints: The names that it may use, and their types.

    Raises:
        ValueError: The text is not an expression. The message says what to write.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters long, more than {LONGEST}; split it into a list of expressions")
    compiler = _Compiler(text.strip(), hints)
    part = compiler.part(_tree(text.strip()))
    return Expression(text, frozenset(compiler.names), part)


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise ValueError(f"{brief(text)} is not an expression ({reason}); {ALLOWED}") from error


class _Compiler:
    """Compiles a small part of Python's syntax to functions, and refuses the rest."""

    def __init__(self, text: str, hints: Mapping[str, Any]) -> None:
        self.text = text
        self.hints = hints
        self.names: set[str] = set()

    def part(self, node: ast.expr, depth: int = 0) -> Part:
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} deep; split it into a list of expressions")
        match node:
            case ast.Constant(value=value) if type(value) in LITERALS:
                return lambda lookup: value
            case ast.Name() | ast.Attribute():
                return self.name(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.part(operand, depth + 1)
                return lambda lookup: not _truth(inner(lookup))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.part(operand, depth + 1)
                return lambda lookup: -_number(inner(lookup))
            case ast.BoolOp(op=kind, values=nodes):
                parts = [self.part(each, depth + 1) for each in nodes]
                choose = all if isinstance(kind, ast.And) else any
                return lambda lookup: choose(_truth(each(lookup)) for each in parts)
            case ast.BinOp(op=kind, left=left, right=right) if type(kind) in NUMBERS:
                return self.arithmetic(NUMBERS[type(kind)], self.part(left, depth + 1), self.part(right, depth + 1))
            case ast.Compare():
                return self.comparison(node, depth + 1)
        raise self.refusal(node)

    def refusal(self, node: ast.expr) -> ValueError:
        return ValueError(f"{brief(ast.get_source_segment(self.text, node))} is not allowed; {ALLOWED}")

    def name(self, node: ast.expr) -> Part:
        name = _dotted(node)
        if name is None:
            raise self.refusal(node)
        if name in CONSTANTS:
            return lambda lookup: CONSTANTS[name]
        if name not in self.hints:
            text = f'; for the text write "{name}"' if "." not in name else ""
            raise ValueError(f"{name[:LONGEST_SHOWN]}: unknown name; {meant(name, tuple(self.hints))}{text}")
        self.names.add(name)
        return lambda lookup: lookup(name)

    def arithmetic(self, apply: Callable[[Any, Any], Any], left: Part, right: Part) -> Part:
        return lambda lookup: apply(_number(left(lookup)), _number(right(lookup)))

    def comparison(self, node: ast.Compare, depth: int) -> Part:
        """Compile a chain such as 1 < a <= b. A name may only be compared for equality with values that it can have."""
        nodes = [node.left, *node.comparators]
        kinds = [type(kind) for kind in node.ops]
        for kind, (left, right) in zip(kinds, pairwise(nodes), strict=True):
            if kind not in RELATIONS:
                raise self.refusal(node)
            if kind in SAME:
                self.check_same(left, right)
        parts = [self.values(each, kind, depth) for each, kind in zip(nodes, [None, *kinds], strict=True)]
        relations = [RELATIONS[kind] for kind in kinds]

        def holds(lookup: Lookup) -> bool:
            found = [part(lookup) for part in parts]
            return all(relation(*pair) for relation, pair in zip(relations, pairwise(found), strict=True))

        return holds

    def values(self, node: ast.expr, kind: type | None, depth: int) -> Part:
        """Compile one side of a comparison. After `in` it must be a list."""
        if kind not in (ast.In, ast.NotIn):
            return self.part(node, depth)
        if not isinstance(node, ast.List | ast.Tuple):
            raise ValueError(f"{brief(ast.get_source_segment(self.text, node))} is not a list; write in [...]")
        parts = [self.part(each, depth) for each in node.elts]
        return lambda lookup: [part(lookup) for part in parts]

    def check_same(self, left: ast.expr, right: ast.expr) -> None:
        for name, other in ((left, right), (right, left)):
            key = _dotted(name)
            if key is not None and key in self.hints:
                for each in other.elts if isinstance(other, ast.List | ast.Tuple) else [other]:
                    if isinstance(each, ast.Constant) and type(each.value) in LITERALS:
                        self.check_value(key, each.value)

    def check_value(self, key: str, value: Any) -> None:
        try:
            typed(self.hints[key], value)
        except ValueError as error:
            raise ValueError(f"{key} is never {brief(value)}: {error}") from error


def _dotted(node: ast.expr) -> str | None:
    """Return the dotted name that a chain of attributes spells, or None for any other node."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{start}.{name}" if (start := _dotted(inner)) else None
    return None


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{describe(value)}, not a number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{describe(value)}, not true or false")
    return value
