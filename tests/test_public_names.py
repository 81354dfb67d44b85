"""Tests use what users of the library can use: no test reaches into a name that begins with an underscore."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import titans
import titans_lab

TESTS = Path(__file__).parent
NAMED_TUPLES = ("_fields", "_replace", "_asdict", "_make")  # which Python documents
SOURCES = [path for package in (titans, titans_lab) for path in Path(str(package.__file__)).parent.rglob("*.py")]


def is_private(name: str) -> bool:
    return name.startswith("_") and name != "_" and not name.endswith("__") and name not in NAMED_TUPLES


def private_names() -> set[str]:
    """The private functions, methods, classes, variables and attributes of the packages."""
    found = set[str]()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return {name for name in found if is_private(name)}


def reached(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and name of each attribute of something else, each import, and each text that may name an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value.rpartition(".")[2]


def test_no_test_reaches_into_a_private_name():
    private = private_names()
    wrong = [
        f"{path.relative_to(TESTS.parent)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, name in reached(ast.parse(path.read_text()))
        if name in private
    ]
    assert not wrong
