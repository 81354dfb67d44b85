"""`slow.txt`, by which `-m "not slow"` chooses, names tests that are there."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_name_is_a_test():
    names = [line.split("::") for line in (ROOT / "tests/slow.txt").read_text().splitlines()]
    there = {
        (file, node.name)
        for file in {file for file, _ in names}
        if (ROOT / file).is_file()
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert not [(file, name) for file, name in names if (file, name) not in there]
