"""Tokenizers: bytes, and byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909, on bytes as in GPT-2).

Both are lossless, so bits per byte are comparable between them. A separate token between two documents counts as one
byte: a zero byte, or `<|endoftext|>`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titans_lab.data.files import read_bytes
from titans_lab.errors import UserError, install

if TYPE_CHECKING:
    import tokenizers

SEPARATOR = b"\0"
END_OF_TEXT = "<|endoftext|>"
#: Settings of a BPE in a tokenizer.json by which it merges otherwise than GPT-2's.
_OTHERWISE = ("dropout", "ignore_merges", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
_GPT2 = ("ByteLevel", False, True)  # type, add_prefix_space and use_regex of its pre-tokenizer
SMALLEST = 257  # the least vocabulary of a BPE: every byte, and the end of a text


class Tokenizer(ABC):
    """Converts text to tokens and back.

    Attributes:
        name: The name, such as "bytes" or "bpe:8192".
        pieces: The bytes of each token.
        end: The token between two documents.
    """

    name: str
    pieces: Sequence[bytes]
    end: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""

    @abstractmethod
    def encode_blocks(self, blocks: Sequence[bytes]) -> list[np.ndarray]:
        """Return the tokens `[tokens]` of each block, which must be UTF-8 unless this is `BYTES`."""

    @property
    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Return the complete definition as plain JSON data, for a file and for the hash."""

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of tokens."""
        return b"".join(self.pieces[token] for token in tokens)

    @cached_property
    def widths(self) -> np.ndarray:
        """Return the number of bytes of each token `[vocabulary]`, int64."""
        return np.array([len(piece) for piece in self.pieces])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the definition, in hex."""
        canonical = json.dumps(self.definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class ByteTokenizer(Tokenizer):
    """The tokenizer in which every byte is a token."""

    name = "bytes"
    pieces = tuple(bytes([value]) for value in range(256))
    end = SEPARATOR[0]

    @property
    def definition(self) -> dict[str, Any]:
        return {"type": "bytes"}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_blocks(self, blocks: Sequence[bytes]) -> list[np.ndarray]:
        return [np.frombuffer(block, np.uint8) for block in blocks]


BYTES = ByteTokenizer()


class BpeTokenizer(Tokenizer):
    """Byte-level BPE with a vocabulary and merges. Encoding needs the package `tokenizers`, decoding does not."""

    def __init__(self, name: str, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> None:
        self.name, self.vocabulary, self.merges = name, vocabulary, merges
        self.end = vocabulary[END_OF_TEXT]
        self.pieces = _pieces(vocabulary)

    def encode(self, text: str) -> list[int]:
        return self._library.encode(text).ids

    def encode_blocks(self, blocks: Sequence[bytes]) -> list[np.ndarray]:
        encoded = self._library.encode_batch_fast([block.decode() for block in blocks])
        return [np.array(each.ids, np.uint32) for each in encoded]

    @property
    def definition(self) -> dict[str, Any]:
        return {"type": "bpe", "vocabulary": self.vocabulary, "merges": [list(pair) for pair in self.merges]}

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        # <|endoftext|> is not registered as special: these letters in a text are ordinary letters
        return _byte_level(_library().models.BPE(self.vocabulary, list(self.merges)))


def train_bpe(name: str, size: int, blocks: Iterable[bytes]) -> BpeTokenizer:
    """Train a BPE of at most `size` tokens, the last of which is the end of a text. It depends on the blocks only."""
    library = _library()
    trained = _byte_level(library.models.BPE())
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator((block.decode() for block in blocks), trainer)
    model = json.loads(trained.to_str())["model"]
    return BpeTokenizer(name, model["vocab"] | {END_OF_TEXT: len(model["vocab"])}, [tuple(m) for m in model["merges"]])


def from_definition(name: str, definition: Any, place: str) -> Tokenizer:
    """Return the tokenizer of a definition. Raise UserError, beginning with `place`, where the definition is wrong."""
    if definition == BYTES.definition:
        return BYTES
    known = isinstance(definition, dict) and definition.keys() == {"type", "vocabulary", "merges"}
    if not known or definition["type"] != "bpe":
        raise UserError(f"{place}: not a tokenizer that this version of titans-lab knows")
    vocabulary = definition["vocabulary"]
    _check_vocabulary(vocabulary, place)
    return BpeTokenizer(name, vocabulary, [_pair(" ".join(pair), vocabulary, place) for pair in definition["merges"]])


def read_bpe(name: str, vocabulary_path: Path, merges_path: Path) -> BpeTokenizer:
    """Read a BPE from two files in GPT-2's format: tokens and their numbers in JSON, and one merge per line."""
    wanted = "GPT-2's vocab.json and merges.txt"
    letters, ranks = (read_bytes(path, "--tokenizer", wanted) for path in (vocabulary_path, merges_path))
    try:
        vocabulary = json.loads(letters.decode())
        lines = ranks.decode().split("\n")
    except (ValueError, RecursionError) as error:  # one is no UTF-8, or the first is no JSON
        raise UserError(f"{vocabulary_path}, {merges_path}: not a BPE's vocabulary and merges ({error})") from error
    _check_vocabulary(vocabulary, str(vocabulary_path))
    numbered = [(f"{merges_path}:{number}", line) for number, line in enumerate(lines, 1)]
    pairs = [(place, line) for place, line in numbered if line and not line.startswith("#version")]
    return BpeTokenizer(name, vocabulary, [_pair(line, vocabulary, place) for place, line in pairs])


def read_tokenizer_json(path: Path) -> BpeTokenizer:
    """Read a byte-level BPE from a `tokenizer.json` of Hugging Face's `tokenizers`.

    Raises:
        UserError: The file is damaged, or its tokenizer would change a text or cut it otherwise than GPT-2's does.
    """
    content = read_bytes(path, "--tokenizer", "a tokenizer.json")
    try:
        found = json.loads(content.decode())
        model, cut, added = found["model"], found["pre_tokenizer"], found["added_tokens"]
        vocabulary = model["vocab"] | {token["content"]: token["id"] for token in added}
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not the tokenizer.json of a BPE ({type(error).__name__}: {error})") from error
    if odd := [name for name in _OTHERWISE if model.get(name)]:
        raise UserError(f"{path}: merges otherwise than GPT-2's BPE ({', '.join(odd)}); choose a tokenizer without")
    if found.get("normalizer") is not None:
        raise UserError(
            f"{path}: its normalizer changes texts, so that their bytes are lost; choose a tokenizer without"
        )
    if not isinstance(cut, dict) or (cut.get("type"), cut.get("add_prefix_space"), cut.get("use_regex", True)) != _GPT2:
        raise UserError(f"{path}: cuts texts otherwise than GPT-2's tokenizer does; choose one with its pre-tokenizer")
    _check_vocabulary(vocabulary, str(path))
    pairs = [_pair(merge, vocabulary, f"{path}: merge {number}") for number, merge in enumerate(merges, 1)]
    return BpeTokenizer("tokenizer.json", vocabulary, pairs)


def _check_vocabulary(vocabulary: Any, place: str) -> None:
    if not isinstance(vocabulary, dict) or sorted(map(repr, vocabulary.values())) != sorted(
        map(repr, range(len(vocabulary)))
    ):
        raise UserError(f"{place}: not a vocabulary: a JSON object of tokens to the numbers 0, 1, 2 and so on")
    if END_OF_TEXT not in vocabulary:
        raise UserError(f"{place}: has no {END_OF_TEXT}")
    letters = set(byte_letters())
    if "" in vocabulary:
        raise UserError(f"{place}: has a token of no bytes; remove it")
    if odd := next((token for token in vocabulary if token != END_OF_TEXT and not letters.issuperset(token)), None):
        raise UserError(f"{place}: {odd!r} is not in the letters that GPT-2 writes bytes with")
    if missing := letters - vocabulary.keys():
        raise UserError(f"{place}: {len(missing)} of the 256 bytes are not tokens")


def _pair(line: str, vocabulary: dict[str, int], place: str) -> tuple[str, str]:
    left, _, right = line.partition(" ")
    if not right or any(part not in vocabulary for part in (left, right, left + right)):
        raise UserError(f"{place}: not two tokens of the vocabulary that make a third: {line!r}")
    if END_OF_TEXT in (left, right, left + right):
        raise UserError(f"{place}: merges letters of a text to {END_OF_TEXT}, the end of a text; remove the line")
    return left, right


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(f"a BPE needs the package `tokenizers`: {install('text')}") from error
    return tokenizers


def _byte_level(model: Any) -> Any:
    library = _library()
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def byte_letters() -> dict[str, int]:
    """Return the letters that GPT-2 writes bytes with: printable bytes are themselves, others are from U+0100 on."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printing]
    return {chr(value): value for value in printing} | {chr(256 + place): value for place, value in enumerate(others)}


def _pieces(vocabulary: dict[str, int]) -> list[bytes]:
    letters = byte_letters()
    pieces = [SEPARATOR] * len(vocabulary)
    for token, number in vocabulary.items():
        if token != END_OF_TEXT:
            pieces[number] = bytes(letters[letter] for letter in token)
    return pieces
