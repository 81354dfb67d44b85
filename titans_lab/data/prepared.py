"""A folder of prepared tokens: what is in it, and its parts mapped into memory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from titans_lab.data.tokenizer import Tokenizer, from_definition
from titans_lab.errors import UserError

FORMAT = 1
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
PARTS = ("train", "valid")


@dataclass(frozen=True)
class Part:
    """Of the training text or of the held-out one.

    Attributes:
        tokens: Those in the file `train.bin` or `valid.bin`, little-endian.
        bytes: What they stand for; an end between two documents is one.
        documents: Begun in it.
        text_sha256: Of these bytes, in hex.
        file_sha256: Of the file.
    """

    tokens: int
    bytes: int
    documents: int
    text_sha256: str
    file_sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a prepared folder holds.

    Attributes:
        format: Of the folder.
        request: What was asked for, and the files that were read, with their sizes and times.
        tokenizer: Its name.
        tokenizer_sha256: Of its definition, which is in `tokenizer.json`.
        vocabulary: Its tokens: the least that `model.vocab_size` can be.
        dtype: Of a token.
        train: To train on.
        valid: Held out.
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
        """SHA-256 over the text of both parts and the tokenizer, in hex; of where they are from it knows nothing."""
        facts = [self.train.text_sha256, self.valid.text_sha256, self.tokenizer_sha256]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """What a folder holds; UserError where that is nothing, damaged, or of a later format."""
    path = folder / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        parts = {name: Part(**record[name]) for name in PARTS}
        manifest = Manifest(**record | parts)
    except FileNotFoundError as error:
        raise UserError(f"{folder}: not a prepared folder; `titans-lab data prepare` makes one of a text") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged or of another version ({error}); prepare the data again") from error
    if manifest.format != FORMAT:
        raise UserError(f"{path}: of format {manifest.format}, and this version reads {FORMAT}; prepare the data again")
    _check_sizes(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Into a folder that is being made."""
    (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")


def read_tokenizer(folder: Path, manifest: Manifest) -> Tokenizer:
    """The folder's tokenizer; UserError where it is not what the manifest says."""
    path = folder / TOKENIZER
    try:
        tokenizer = from_definition(manifest.tokenizer, json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); prepare the data again") from error
    if tokenizer.digest != manifest.tokenizer_sha256:
        raise UserError(f"{path}: not the tokenizer that {MANIFEST} names; prepare the data again")
    return tokenizer


def map_part(folder: Path, manifest: Manifest, name: str) -> np.ndarray:
    """The tokens of "train" or "valid", read from the disk as they are used."""
    return np.memmap(folder / f"{name}.bin", dtype=np.dtype(manifest.dtype).newbyteorder("<"), mode="r")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, manifest: Manifest) -> None:
    """UserError where a part is not byte for byte what was written."""
    for name in PARTS:
        if file_digest(path := folder / f"{name}.bin") != getattr(manifest, name).file_sha256:
            raise UserError(f"{path}: its content has changed since it was written; prepare the data again")


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for name in PARTS:
        path = folder / f"{name}.bin"
        wanted = getattr(manifest, name).tokens * np.dtype(manifest.dtype).itemsize
        found = path.stat().st_size if path.exists() else None
        if found != wanted:
            state = "missing" if found is None else f"{found} bytes long, not {wanted}"
            raise UserError(f"{path}: {state}; prepare the data again")
