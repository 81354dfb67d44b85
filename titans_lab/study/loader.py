"""Load YAML with the place of every value and without YAML's surprises.

Scalars follow YAML 1.2's core schema in lower case: `1e-4` is a number, `yes` is text. Anchors, aliases, tags and
repeated keys are refused, so that a file means what it shows and is as small as it looks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.study.reading import Node

Place = Callable[[int], str]  # from a line number, from 0, to its name in errors

DEEPEST = 20
LARGEST = 2_000_000  # bytes
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
INTEGER = re.compile(r"[-+]?\d+(_\d+)*", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.\d+|\d+(_\d+)*(\.\d*)?)(e[-+]?\d+)?|[-+]?\.inf|\.nan", re.IGNORECASE | re.ASCII)
LONGEST_INTEGER = 18  # characters, so that it fits in 64 bits


def load(path: Path) -> Node:
    """Return the content of a YAML file.

    Raises:
        UserError: The file cannot be read, or is not the YAML that this module accepts.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file{_neighbours(path)}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: a directory; name a study file in it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path}: more than {LARGEST} bytes; a study is written by hand, or its lists by logspace")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: byte {content[error.start]:#x} is not UTF-8; save the file as UTF-8"
        ) from error
    return parse(text, lambda line: f"{path}:{line + 1}")


def parse(text: str, place: Place) -> Node:
    """Return the content of a YAML text, whose lines `place` names in errors. Raise UserError where it is not YAML."""
    import yaml

    quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader is 20 times as fast
    try:
        return _Builder(yaml.parse(text, Loader=quick), place).document()
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        raise UserError(
            f"{place(line)}: not YAML: {error.problem}; {_remedy(str(error.problem), text, line)}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, text.find(chr(error.character)))
        raise UserError(f"{place(line)}: character {error.character:#x} is not allowed; remove it") from error
    except ValueError as error:  # an escape beyond the last Unicode character
        raise UserError(f"{place(0)}: not YAML: {error}; write the character itself") from error


def from_plain(value: Any, place: str, depth: int = 0) -> Node:
    """Return the content that a file would have for a value of Python.

    Args:
        value: Dictionaries, lists, tuples, numpy arrays, paths and scalars, nested.
        place: The name of all of it in errors.
        depth: The number of containers around the value.

    Raises:
        UserError: The value has something else in it, a key that is no text, or more than `DEEPEST` levels.
    """
    if depth > DEEPEST:
        raise UserError(f"{place}: nested more than {DEEPEST} deep; a study needs four levels")
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise UserError(f"{place}: the key {odd[0]!r} is no text; write it in quotes")
        value = {key: from_plain(inner, place, depth + 1) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        value = [from_plain(inner, place, depth + 1) for inner in value]
    elif isinstance(value, Path):
        value = str(value)
    elif not isinstance(value, str | bool | int | float | None):
        raise UserError(
            f"{place}: {value!r:.80} is a {type(value).__name__}; a study has texts, numbers, true and false"
        )
    return Node(value, place, place)


def resolve(text: str) -> Any:
    """Return the value of a scalar without quotes: null, a boolean, a number, or the text itself."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text) and len(text) <= LONGEST_INTEGER:
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Builder:
    """Builds nodes from PyYAML's events."""

    def __init__(self, events: Iterator[Any], place: Place) -> None:
        self.events = events
        self.place = place

    def document(self) -> Node:
        import yaml

        roots = [self.node(event) for event in self.events if isinstance(event, yaml.NodeEvent)]
        if len(roots) > 1:
            raise UserError(f"{roots[1].place}: a second document; write one study a file, without --- in between")
        return roots[0] if roots else Node(None, self.place(0), self.place(0))

    def node(self, event: Any, key_place: str = "", depth: int = 0) -> Node:
        import yaml

        place = self.place(event.start_mark.line)
        self.refuse_references(event, place)
        if depth > DEEPEST:
            raise UserError(f"{place}: nested more than {DEEPEST} deep; a study needs four levels")
        if isinstance(event, yaml.ScalarEvent):
            value: Any = resolve(self.text(event, place)) if event.implicit[0] else self.text(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self.node(item, "", depth + 1) for item in self.until(yaml.SequenceEndEvent)]
        else:
            value = self.mapping(depth)
        return Node(value, place, key_place or place)

    def mapping(self, depth: int) -> dict[str, Node]:
        import yaml

        items: dict[str, Node] = {}
        for event in self.until(yaml.MappingEndEvent):
            place = self.place(event.start_mark.line)
            self.refuse_references(event, place)
            if not isinstance(event, yaml.ScalarEvent):
                raise UserError(f"{place}: a key must be a word, not a list or a mapping; quote it if it is text")
            key = self.text(event, place)
            if key in items:
                raise UserError(f"{place}: {key}: the key is already at {items[key].key_place}; keep one of them")
            items[key] = self.node(next(self.events), place, depth + 1)
        return items

    def text(self, event: Any, place: str) -> str:
        """Return the text of a scalar, which must be valid in files and on terminals."""
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise UserError(f"{place}: half of a character (\\ud800 to \\udfff); write the character itself")
        return str(event.value)

    def until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def refuse_references(self, event: Any, place: str) -> None:
        if event.anchor is not None:
            raise UserError(f"{place}: anchors (&) and aliases (*) are not supported; write the value out, or quote it")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise UserError(f"{place}: the tag {tag} is not supported; write the value without it")


def _remedy(problem: str, text: str, line: int) -> str:
    """Return the remedy for a syntax error in a line."""
    if "mapping values are not allowed" in problem:
        return "put text that holds ': ' in quotes"
    if "cannot start any token" in problem and "\t" in "".join(text.splitlines()[line : line + 1]):
        return "indent with spaces, not tabs"
    return "check the indentation, quotes and brackets around this line"


def _neighbours(path: Path) -> str:
    """Return a suggestion of files that a missing path may have meant."""
    files = sorted(str(file) for pattern in ("*.yaml", "*.yml") for file in path.parent.glob(pattern))
    near = difflib.get_close_matches(str(path), files, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
