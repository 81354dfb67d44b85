"""Docstrings begin with a head, and docstrings, messages and pages use the field's words: the glossary's, not ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import titans
import titans_lab
from tests.helpers.pages import PAGES

#: Words with which no sentence begins that has a subject, or a verb in the imperative.
HEADLESS = re.compile(r"(Of|That|Those|These|Which|Whose|As|At|By|In|On|From|To|With|Where|It|Its|Their|Such|So) ")
#: Words that the project once had for terms of the field, and the terms. None of them has another use here.
PRIVATE = {
    r"N25|V1": "the NeurIPS 2025 camera-ready, the arXiv v1",
    r"floors(?!:)": "n-gram baselines",  # with a colon it is an attribute in a docstring
    r"raced": "stopped early (racing)",
    r"stretch(es)?": "a segment of tokens, an interval of steps",
    r"once more": "recompute, repeat",
    r"made ready": "prepared, tokenized",
    r"h[au]ng(s)? on": "importance",
    r"taken for dead": "counts as dead",
    r"for people": "readable, for messages",
}
WORDS = re.compile(rf"\b({'|'.join(PRIVATE)})\b")
PAST = ("LOG.md", "CHANGELOG.md")  # pages that quote former words
PACKAGES = [Path(str(package.__file__)).parent for package in (titans, titans_lab)]


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """Yield the path and the syntax tree of each module."""
    for folder in PACKAGES:
        for path in sorted(folder.rglob("*.py")):
            yield path, ast.parse(path.read_text())


def docstrings(tree: ast.Module) -> Iterator[tuple[int, ast.AST, str]]:
    """Yield the line, the definition and the text of each docstring of a module, a class or a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), node, text


def private_words(text: str) -> list[str]:
    """Return the private words of a text."""
    return [match[1] for match in WORDS.finditer(text)]


def test_every_docstring_begins_with_a_subject_or_a_verb():
    wrong = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, tree in sources()
        for line, node, text in docstrings(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and HEADLESS.match(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_text_in_the_source_has_a_private_word():
    wrong = [
        f"{path}:{node.lineno}: {word}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in private_words(node.value)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_page_has_a_private_word():
    wrong = [f"{page}: {word}" for page in PAGES if page.name not in PAST for word in private_words(page.read_text())]
    assert not wrong, "\n".join(wrong)


def test_a_private_word_is_found_where_it_stands_alone():
    assert private_words("It is raced, once more.") == ["raced", "once more"]
    assert private_words("embraced; the floor of a number; a stretched exponential") == []
