"""What the pages and docstrings of the project say, for the tests of the docs."""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "results" / "README.md"])
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
SOURCES = sorted(path for room in ("titans", "titans_lab", "benchmarks") for path in (ROOT / room).rglob("*.py"))

NO_EXAMPLES = ("LOG.md", "CHANGELOG.md", "commands.md")  # they tell of the past, or show usage lines

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4,}\S.*\n?)+", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Found:
    """A piece of text and where it stands."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def blocks(page: Path, *languages: str) -> list[Found]:
    """Return the fenced blocks of a page in these languages."""
    text = page.read_text()
    return [
        Found(place(page, text, match.start(2)), match[2]) for match in FENCE.finditer(text) if match[1] in languages
    ]


def commands() -> list[Found]:
    """Return every `titans-lab ...` command that a page or the header of a study shows."""
    return [found for path in (*PAGES, *STUDIES) if path.name not in NO_EXAMPLES for found in _commands(path)]


def words(path: Path) -> list[Found]:
    """Return what a page says, or the docstrings and comments of a source file."""
    text = path.read_text()
    if path.suffix == ".md":
        return [Found(place(path, text, 0), text)]
    if path.suffix == ".yaml":
        return [Found(place(path, text, 0), header(path))]
    return [*_docstrings(path, text), *_comments(path, text)]


def header(study: Path) -> str:
    """Return the comment lines that a study begins with, without their signs."""
    lines = takewhile(lambda line: line.startswith("#"), study.read_text().splitlines())
    return "\n".join(line.removeprefix("#") for line in lines)


def place(path: Path, text: str, offset: int) -> str:
    """Return the file and line of an offset."""
    return f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, offset) + 1}"


def _commands(path: Path) -> Iterator[Found]:
    for found in _shown(path):
        for line in found.text.splitlines():
            for part in re.split(r" && | \| |; | > ", line.strip().removeprefix("$ ")):
                if command := re.match(r"(?:Command: +)?(?:\S*/)?(titans-lab [a-z].*)", part.strip()):
                    yield Found(found.place, command[1])


def _shown(path: Path) -> Iterator[Found]:
    """Yield what may hold commands: the header of a study; of a page code blocks, and code within sentences."""
    text = path.read_text()
    if path.suffix != ".md":
        yield Found(place(path, text, 0), header(path))
        return
    for match in (*FENCE.finditer(text), *INDENTED.finditer(text)):
        yield Found(place(path, text, match.start()), match[0])
    for match in SPAN.finditer(FENCE.sub(_blank, text)):
        yield Found(place(path, text, match.start()), match[1])


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def arguments(command: Found) -> list[str]:
    """Return the words of a command after the program's name, without a comment at its end."""
    return shlex.split(command.text, comments=True)[1:]


def _docstrings(path: Path, text: str) -> Iterator[Found]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node)
            if doc:
                line = 1 if isinstance(node, ast.Module) else node.lineno
                yield Found(f"{path.relative_to(ROOT)}:{line}", doc)


def _comments(path: Path, text: str) -> Iterator[Found]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Found(f"{path.relative_to(ROOT)}:{token.start[0]}", token.string)


@cache
def everything() -> tuple[Found, ...]:
    """Return all that is said, page by page and docstring by docstring; the log and the changelog tell of the past."""
    paths = [path for path in (*PAGES, *STUDIES, *SOURCES) if path.name not in ("LOG.md", "CHANGELOG.md")]
    return tuple(found for path in paths for found in words(path))
