"""Read and hash the files of long-context tasks: needles, stories, and the texts around them. It needs no torch."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from titans_lab.data.files import read_bytes
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError

LOOKED_AT = 10_000  # pairs of words that are checked, as many as are drawn before drawing a needle fails
#: The purpose of each part, in messages.
PURPOSE: dict[Part, str] = {
    "train": "to train on",
    "valid": "for validation (one in twenty, by its hash)",
    "test": "for tests (one in twenty, by its hash)",
}
WORD_FILES = ("adjectivelist.txt", "nounlist.txt")
WORDS_WANTED = "a folder with adjectivelist.txt and nounlist.txt, one word a line, as wonderwords has them"
PROSE_WANTED = "a text file, plain or gzip, or null for Python's documentation"
BOOKS_WANTED = "a book as text, plain or gzip, or a folder of them"
FACTS_WANTED = "a file of bAbI stories, plain or gzip"
_BOOK_BEGINS, _BOOK_ENDS = b"*** START OF TH", b"*** END OF TH"  # the marks in Project Gutenberg's files


def part_of(text: str) -> Part:
    """Return the part that a text belongs to, by its hash: one in twenty is for validation and one for tests."""
    rest = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 20
    return "test" if rest == 0 else "valid" if rest == 10 else "train"


def check_words(folder: str) -> None:
    """Raise UserError where the word lists give no pair of words for one of the parts of the data."""
    adjectives, nouns = (file.decode(errors="replace").split() for file in read_words(folder))
    pairs = (f"{adjective}-{noun}" for adjective in adjectives for noun in nouns)
    found = {part_of(pair) for pair in islice(pairs, LOOKED_AT)}
    for part in PARTS:
        if part not in found:
            words = PURPOSE[part]
            raise UserError(f"task.needle.words: {folder}: none of its pairs of words is {words}; give longer lists")


def read_prose(path: str | None) -> bytes:
    """Return a text, by default the documentation in Python's own library, which is mostly prose."""
    return _python_documentation() if path is None else read_bytes(path, "data.path", PROSE_WANTED)


def prose_source(path: str | None) -> str:
    """Return the origin of the text of `read_prose`."""
    return f"Python {platform.python_version()} documentation" if path is None else path


def read_books(path: str | None) -> bytes:
    """Return a book, or all files of a folder by name, without Project Gutenberg's licence."""
    if path is None:
        return _python_documentation()
    files = sorted(file for file in Path(path).iterdir() if file.is_file()) if Path(path).is_dir() else [Path(path)]
    if not files:
        raise UserError(f"data.path: {path} has no file; give {BOOKS_WANTED}")
    return b"\n".join(_story_alone(read_bytes(str(file), "data.path", BOOKS_WANTED)) for file in files)


def read_words(folder: str | None) -> tuple[bytes, ...]:
    """Return the lists of adjectives and nouns, one word a line, or an empty tuple without a folder."""
    if folder is None:
        return ()
    return tuple(read_bytes(str(Path(folder) / name), "task.needle.words", WORDS_WANTED) for name in WORD_FILES)


def read_facts(path: str | None) -> bytes:
    """Return the content of a file of bAbI stories."""
    if path is None:
        raise UserError(f"task.babilong.facts: names no file; give {FACTS_WANTED}")
    return read_bytes(path, "task.babilong.facts", FACTS_WANTED)


@dataclass(frozen=True)
class NeedleContents:
    """The word lists of needles and the text to hide them in.

    Attributes:
        words: Lists of adjectives and nouns, one word a line. Empty: built-in lists.
        prose: The text. None: built-in sentences.
    """

    words: tuple[bytes, ...]
    prose: bytes

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the whole content, in hex."""
        return _digest(*self.words, self.prose)


def needle_contents(kind: str, path: str | None, words: str | None) -> NeedleContents:
    """Read the files. Raise UserError where one cannot be used."""
    return NeedleContents(read_words(words), b"" if kind == "passkey" else _in_parts(read_prose(path), path))


def needle_source(kind: str, path: str | None) -> str:
    """Return the origin of the haystack."""
    return "sentences that repeat" if kind == "passkey" else prose_source(path)


@dataclass(frozen=True)
class BabilongContents:
    """The stories and the book to hide them in."""

    facts: bytes
    facts_source: str
    book: bytes

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the whole content, in hex."""
        return _digest(self.facts, self.book)


def babilong_contents(facts: str | None, books: str | None) -> BabilongContents:
    """Read the files. Raise UserError where one cannot be used."""
    return BabilongContents(read_facts(facts), str(facts), _in_parts(read_books(books), books))


def babilong_source(facts: str | None, books: str | None) -> str:
    """Return the origin of the stories and the book."""
    return f"{facts} in {prose_source(books)}"


def prose_part(text: bytes, part: Part) -> bytes:
    """Return a part of a text: of its last tenth the first half is for validation and the rest for tests."""
    held_out = len(text) // 10
    cut, middle = len(text) - held_out, len(text) - held_out + held_out // 2
    return {"train": text[:cut], "valid": text[cut:middle], "test": text[middle:]}[part]


def _in_parts(text: bytes, path: str | None) -> bytes:
    """Return a text. Raise UserError where one of its parts has no prose."""
    wanted: dict[Part, str] = {
        "train": "to train on",
        "valid": "for validation, which has the first half of its last tenth",
        "test": "for tests, which have the second half of its last tenth",
    }
    for part, words in wanted.items():
        if not prose_part(text, part).strip():
            raise UserError(f"data.path: {path} has no prose {words}; give a longer text")
    return text


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def _story_alone(book: bytes) -> bytes:
    begins, ends = book.find(_BOOK_BEGINS), book.find(_BOOK_ENDS)
    return book[book.find(b"\n", begins) + 1 : ends] if 0 <= begins < ends else book


def _python_documentation() -> bytes:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UserError(f"data.path: this Python comes without its documentation; give {PROSE_WANTED}") from error
    return "\n".join(topics[name] for name in sorted(topics)).encode()
