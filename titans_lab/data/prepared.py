"""Read a folder of prepared tokens: its manifest, its tokenizer, and its parts mapped into memory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from titans_lab.data.files import BLOCK, open_file
from titans_lab.data.remembered import remembered
from titans_lab.data.tokenizer import Tokenizer, from_definition
from titans_lab.errors import UserError

FORMAT = 1
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
PARTS = ("train", "valid")
DTYPES = ("uint8", "uint16", "uint32")
WANTED = "a folder that `titans-lab data prepare` made"
LARGEST_RECORD = 1 << 28  # bytes of a manifest or a tokenizer
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Part:
    """The facts of a part of a prepared folder: the training text or the held-out text.

    Attributes:
        tokens: The number of tokens in the file `train.bin` or `valid.bin`, which is little-endian.
        bytes: The number of bytes of the tokens. The end between two documents counts as one byte.
        documents: The number of documents that begin in the part.
        text_sha256: The SHA-256 of the bytes in hex. It is the same for all tokenizers.
        file_sha256: The SHA-256 of the file.
    """

    tokens: int
    bytes: int
    documents: int
    text_sha256: str
    file_sha256: str


class Content(NamedTuple):
    """The SHA-256 of a part's file in hex, and its largest token."""

    sha256: str
    largest: int


@dataclass(frozen=True)
class Manifest:
    """The manifest of a prepared folder.

    Attributes:
        format: The version of the folder's layout.
        request: The request, and the files that were read, with their sizes and times.
        tokenizer: The name of the tokenizer.
        tokenizer_sha256: The SHA-256 of its definition in `tokenizer.json`.
        vocabulary: The number of its tokens, which is the least `model.vocab_size`.
        dtype: The type of a token in the files.
        train: The training text.
        valid: The held-out text.
    """

    format: int
    request: dict[str, Any]
    tokenizer: str
    tokenizer_sha256: str
    vocabulary: int
    dtype: str
    train: Part
    valid: Part

    @property
    def digest(self) -> str:
        """Return the SHA-256 in hex of the tokens of both parts and of the tokenizer.

        The origin of the text has no part.
        """
        facts = [self.train.file_sha256, self.valid.file_sha256, self.dtype, self.tokenizer_sha256]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    `verify` checks the content of the files; this function checks their sizes only.

    Raises:
        UserError: The folder is not prepared, is damaged, or has a later format.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise UserError(f"{folder}: not a prepared folder; `titans-lab data prepare` makes one of a text")
    content = _content(path)
    try:
        record = json.loads(content)
        manifest = Manifest(**record | {name: Part(**record[name]) for name in PARTS})
        _check_shape(manifest)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: damaged or of another version ({error}); prepare the data again") from error
    for name in PARTS:
        _check_size(folder / f"{name}.bin", manifest, getattr(manifest, name))
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into a folder."""
    (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")


def verify(folder: Path, manifest: Manifest) -> Tokenizer:
    """Check the whole content of a folder, unless it is known to be unchanged, and return its tokenizer.

    Raises:
        UserError: A file differs from the manifest, or a token is beyond the vocabulary.
    """
    for name in PARTS:
        path, part = folder / f"{name}.bin", getattr(manifest, name)
        content = part_content(path, manifest.dtype)
        if content.sha256 != part.file_sha256:
            raise UserError(f"{path}: its content has changed since it was prepared; prepare the data again")
        if content.largest >= manifest.vocabulary:
            raise UserError(
                f"{path}: has token {content.largest}, and {MANIFEST} names {manifest.vocabulary} tokens; "
                "prepare the data again"
            )
    return read_tokenizer(folder, manifest)


def part_content(path: Path, dtype: str) -> Content:
    """Return SHA-256 and largest token of a part's file. Raise UserError where it cannot be read."""

    def find(file: BinaryIO) -> list[Any]:
        sha, largest = hashlib.sha256(), 0
        while block := file.read(BLOCK):
            sha.update(block)
            largest = max(largest, int(np.frombuffer(block, _little_endian(dtype)).max()))
        return [sha.hexdigest(), largest]

    return Content(*remembered(path, "tokens", WANTED, dtype, find))


def read_tokenizer(folder: Path, manifest: Manifest) -> Tokenizer:
    """Return the folder's tokenizer. Raise UserError where it is not what the manifest says."""
    path = folder / TOKENIZER
    try:
        tokenizer = from_definition(manifest.tokenizer, json.loads(_content(path)), str(path))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); prepare the data again") from error
    if tokenizer.digest != manifest.tokenizer_sha256 or len(tokenizer.pieces) != manifest.vocabulary:
        raise UserError(f"{path}: not the tokenizer that {MANIFEST} names; prepare the data again")
    return tokenizer


def map_part(folder: Path, manifest: Manifest, name: str) -> np.ndarray:
    """Return the tokens of "train" or "valid" `[tokens]`, mapped from the disk."""
    return np.memmap(folder / f"{name}.bin", dtype=_little_endian(manifest.dtype), mode="r")


def _content(path: Path) -> bytes:
    with open_file(path, "a part of it", WANTED) as file:
        return file.read(LARGEST_RECORD)


def _little_endian(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")


def _check_shape(manifest: Manifest) -> None:
    """Raise ValueError where a value has a wrong type: the file may come from anybody."""
    if manifest.format != FORMAT:
        raise ValueError(f"format: {manifest.format!r} is not {FORMAT}, which this version reads")
    if manifest.dtype not in DTYPES:
        raise ValueError(f"dtype: {manifest.dtype!r} is none of {', '.join(DTYPES)}")
    counts = {"vocabulary": manifest.vocabulary}
    for name in PARTS:
        part = getattr(manifest, name)
        counts |= {f"{name}.{key}": getattr(part, key) for key in ("tokens", "bytes", "documents")}
    for key, value in counts.items():
        if type(value) is not int or not 1 <= value < 2**63:
            raise ValueError(f"{key}: {repr(value)[:40]} is not a count")
    for name in PARTS:
        hashes = (getattr(manifest, name).text_sha256, getattr(manifest, name).file_sha256)
        if not all(isinstance(value, str) and _SHA256.fullmatch(value) for value in hashes):
            raise ValueError(f"{name}: has a SHA-256 that is none")
    if not isinstance(manifest.request, dict) or not isinstance(manifest.tokenizer, str):
        raise ValueError("request or tokenizer: not what `titans-lab data prepare` writes")


def _check_size(path: Path, manifest: Manifest, part: Part) -> None:
    if not path.exists():
        raise UserError(f"{path}: missing; prepare the data again")
    found, wanted = path.stat().st_size, part.tokens * np.dtype(manifest.dtype).itemsize
    if found != wanted:
        raise UserError(f"{path}: {found} bytes long, not {wanted}; prepare the data again")
