"""Digest the source code that decides the numbers of runs. Comments, docstrings and layout do not count.

The digests are recorded with each run and are not part of its identity, which has versions instead: a digest tells that
code was edited where nobody raised a version. A plugin has the hash of its files in the identity of its runs, so that
the runs of an edited plugin are other runs.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: What decides the numbers of a run: models, mixers and operators with their kernels in C, data, the steps and sizes of
#: a configuration, tasks, and training.
DECIDING = ("titans", "titans_lab/data", "titans_lab/run", "titans_lab/tasks", "titans_lab/training")
SUFFIXES = (".py", ".c", ".h")

_ROOT = Path(__file__).resolve().parent.parent
_C_TEXT_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')|//[^\n]*|/\*.*?\*/', re.DOTALL)


@cache
def source_digest(root: Path = _ROOT) -> str:
    """Return the digest of the code below a folder that has the two packages, 16 hexadecimal digits.

    A module that Python cannot parse counts as its text.
    """
    digest = hashlib.sha256()
    for name, content in _files(root):
        digest.update(f"{name}\0{_code(name, content)}\0".encode())
    return digest.hexdigest()[:16]


@cache
def files_digest(root: Path = _ROOT) -> str:
    """Return the digest of the bytes of the same files. It takes a fiftieth of the time of `source_digest`."""
    digest = hashlib.sha256()
    for name, content in _files(root):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def code_of_files(root: Path = _ROOT) -> dict[str, tuple[str, str]]:
    """Return the digest of the bytes and that of the code of each of these files, by path, for `changed_files`."""
    return {name: (_short(content), _short(_code(name, content).encode())) for name, content in _files(root)}


def changed_files(before: Mapping[str, Sequence[str]], root: Path = _ROOT) -> list[str]:
    """Return the paths of the files whose code differs from what `code_of_files` gave, with those gone and those new.

    Only files whose bytes differ are parsed.
    """
    now = dict(_files(root))
    differ = [
        name
        for name, content in now.items()
        if name in before
        and before[name][0] != _short(content)
        and before[name][1] != _short(_code(name, content).encode())
    ]
    return sorted([*differ, *(before.keys() ^ now.keys())])


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _code(name: str, content: bytes) -> str:
    """Return the code of a file as text, or its text where Python cannot parse it."""
    text = content.decode()
    try:
        return python_code(text) if name.endswith(".py") else c_code(text)
    except SyntaxError:
        return text


def _files(root: Path) -> list[tuple[str, bytes]]:
    """Return the deciding files as path relative to `root` and content, in the order of their paths."""
    paths = (path for room in DECIDING for path in (root / room).rglob("*") if path.suffix in SUFFIXES)
    return sorted((path.relative_to(root).as_posix(), path.read_bytes()) for path in paths)


def python_code(text: str) -> str:
    """Return the syntax tree of a module as text, without docstrings, comments and places in the file.

    Empty fields are left out, so that a later Python whose trees have more fields gives the same text.
    """
    return " ".join(_tokens(ast.parse(text)))


def _tokens(node: Any) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name, value in ast.iter_fields(node):
            if value is not None and value != []:
                yield f"{name}="
                yield from _tokens(value)
        yield ")"
    elif isinstance(node, list):
        for each in node:
            if not _is_docstring(each):
                yield from _tokens(each)
    else:
        yield repr(node)


def _is_docstring(node: Any) -> bool:
    """Return whether a statement is nothing but a text: a docstring, or one below an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def c_code(text: str) -> str:
    """Return C source without comments, blank lines and indentation."""
    code = _C_TEXT_OR_COMMENT.sub(lambda found: found[1] or " ", text)
    return "\n".join(filter(None, (" ".join(line.split()) for line in code.splitlines())))
