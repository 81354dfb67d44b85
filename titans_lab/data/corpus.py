"""Load the text that a study trains on: Python's standard library, a file, or a folder of prepared tokens."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from titans_lab.data.bases import FASTA, fasta_bases
from titans_lab.data.files import COMPRESSED, open_file, read_content
from titans_lab.data.parts import Part
from titans_lab.data.prepared import Manifest, map_part, read_manifest, verify
from titans_lab.data.remembered import remembered
from titans_lab.data.tokenizer import BYTES, Tokenizer
from titans_lab.errors import UserError
from titans_lab.run.sections import DataConfig

TEXT = f"a text file ({COMPRESSED}), a prepared folder, or null for Python's standard library"
SMALLEST_PART = 2  # bytes in a part: one to read and one to predict

# Installers and distributions strip, move or rewrite these files. Without them all installs of a Python version agree.
LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "idlelib", "lib2to3", "tkinter"}
    | {"turtledemo", "ensurepip", "distutils", "macholib", "pydoc_data"}
)
LEFT_OUT_FILES = frozenset({"_distutils_system_mod.py", "sitecustomize.py", "usercustomize.py", "turtle.py"})


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text and its split, as tokens.

    Attributes:
        source: The origin of the text: "Python 3.11.7 standard library", or the path.
        digest: The SHA-256 in hex of the bytes before the split, or of text and tokenizer of a prepared folder.
        train: The training tokens `[tokens]`, read-only.
        valid: The first half of the held-out tokens `[tokens]`, or its first `valid_bytes` bytes, read-only.
        test: The second half of the held-out tokens `[tokens]`, or its first `valid_bytes` bytes, read-only.
        tokenizer: The tokenizer of the tokens.
    """

    source: str
    digest: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    tokenizer: Tokenizer = BYTES

    def first_bytes(self, part: Part, limit: int | None) -> np.ndarray:
        """Return the tokens of a part `[tokens]`, or the first ones (at least two) that have at most `limit` bytes."""
        tokens: np.ndarray = getattr(self, part)
        if limit is None:
            return tokens
        start = tokens[:limit]  # a token has at least one byte
        return start[: max(2, np.searchsorted(self.tokenizer.widths[start].cumsum(), limit, side="right"))]


def load_corpus(config: DataConfig, fasta: bool = False) -> Corpus:
    """Read and split the text.

    Args:
        config: The data section of the run.
        fasta: Whether the text is the bases of a FASTA file, without headers and line ends.

    Raises:
        UserError: The text cannot be read, is too short to be split, or is not what its folder says.
    """
    if not fasta and _is_folder(config):
        manifest, tokenizer = _verified(config)
        train, held_out = (map_part(Path(str(config.path)), manifest, name) for name in ("train", "valid"))
        digest = manifest.digest
    else:
        content = _plain_text(config.path, fasta)
        cut = _cut(config, len(content))
        tokens, digest, tokenizer = np.frombuffer(content, dtype=np.uint8), hashlib.sha256(content).hexdigest(), BYTES
        train, held_out = tokens[:cut], tokens[cut:]
    half = len(held_out) // 2
    corpus = Corpus(corpus_source(config), digest, train, held_out[:half], held_out[half:], tokenizer)
    valid, test = (corpus.first_bytes(part, config.valid_bytes) for part in ("valid", "test"))
    return replace(corpus, valid=valid, test=test)


def corpus_digest(config: DataConfig, fasta: bool = False) -> str:
    """Return `Corpus.digest` only, with the same checks. A file that is known to be unchanged is not read."""
    return _measure(config, fasta)[0]


def check_window(config: DataConfig, length: int, fasta: bool = False) -> None:
    """Raise UserError where the training part is shorter than a window of `length` tokens and one to predict."""
    refuse_short(_measure(config, fasta)[1], length, corpus_source(config))


def refuse_short(tokens: int, length: int, source: str) -> None:
    """Raise UserError where `tokens` is less than a window of `length` tokens and one to predict."""
    if tokens <= length:
        raise UserError(
            f"train.seq_len: {length} and one more to predict are more than the {tokens} tokens that {source} has to "
            "train on; lower train.seq_len or give a longer text"
        )


def prepared_vocabulary(config: DataConfig) -> int | None:
    """Return the vocabulary size of a prepared folder, None for any other text. Raise UserError as `read_manifest`."""
    return read_manifest(Path(str(config.path))).vocabulary if _is_folder(config) else None


def check_vocabulary(config: DataConfig, given: int) -> None:
    """Raise UserError where the text has tokens beyond a model's vocabulary."""
    if not _is_folder(config):
        return  # every vocabulary has all bytes
    manifest, _ = _verified(config)
    if given < manifest.vocabulary:
        raise UserError(
            f"model.vocab_size: {given} is below the {manifest.vocabulary} tokens of {config.path} "
            f"({manifest.tokenizer}); set model.vocab_size={manifest.vocabulary}"
        )


def corpus_source(config: DataConfig) -> str:
    """Return `Corpus.source` only, without reading anything."""
    return f"Python {platform.python_version()} standard library" if config.path is None else config.path


def trained_tokenizer(config: DataConfig, vocabulary: int, digest: str) -> Tokenizer:
    """Return the tokenizer of a run, whose text had a digest.

    Raise UserError where its folder is gone or has changed.
    """
    path = config.path
    if _is_folder(config):
        manifest, tokenizer = _verified(config)
        if manifest.digest != digest:
            raise UserError(f"data.path: {path} is not what the run was trained on; prepare that text again")
        return tokenizer
    if path is not None and not Path(path).exists() and vocabulary > len(BYTES.pieces):
        raise UserError(f"data.path: {path} is gone, and with it the run's tokenizer; put it back")
    return BYTES


def _is_folder(config: DataConfig) -> bool:
    return config.path is not None and os.path.isdir(config.path)  # noqa: PTH112 Path's raises at some names


def _verified(config: DataConfig) -> tuple[Manifest, Tokenizer]:
    """Return manifest and tokenizer of a prepared folder.

    Raise UserError where a file is not what the manifest says.
    """
    folder = Path(str(config.path))
    try:
        manifest = read_manifest(folder)
        tokenizer = verify(folder, manifest)
    except UserError as error:
        raise UserError(f"data.path: {error}") from error
    if config.valid_fraction != DataConfig().valid_fraction:
        raise UserError(
            f"data.valid_fraction: {folder} was split when it was prepared (its --valid-fraction); remove this one"
        )
    return manifest, tokenizer


def _measure(config: DataConfig, fasta: bool) -> tuple[str, int]:
    """Return the digest of a text and its number of training tokens, with the checks of `load_corpus`."""
    if not fasta and _is_folder(config):
        manifest, _ = _verified(config)
        return manifest.digest, manifest.train.tokens
    if config.path is None:
        digest, size = _of_the_standard_library()
    else:
        path, kind = Path(config.path), "bases" if fasta else "text"
        find = partial(_hash_and_size, path=config.path, fasta=fasta)
        digest, size = remembered(path, "data.path", FASTA if fasta else TEXT, kind, find)
    return digest, _cut(config, size)


def _hash_and_size(file: BinaryIO, path: str, fasta: bool) -> tuple[str, int]:
    content = _content(file, path, fasta)
    return hashlib.sha256(content).hexdigest(), len(content)


@cache
def _of_the_standard_library() -> tuple[str, int]:
    content = standard_library(Path(sysconfig.get_path("stdlib")))
    return hashlib.sha256(content).hexdigest(), len(content)


def _cut(config: DataConfig, size: int) -> int:
    """Return the number of bytes in the training part."""
    held_out = int(size * config.valid_fraction)
    if min(size - held_out, held_out // 2) < SMALLEST_PART:
        raise UserError(
            f"data.path: {corpus_source(config)} has {size} bytes: {size - held_out} to train on and {held_out} held "
            f"out by data.valid_fraction {config.valid_fraction}, half to validate on and half to test on; give a "
            "longer text or another fraction"
        )
    return size - held_out


def _plain_text(path: str | None, fasta: bool) -> bytes:
    if path is None:
        return standard_library(Path(sysconfig.get_path("stdlib")))
    with open_file(path, "data.path", FASTA if fasta else TEXT) as file:
        return _content(file, path, fasta)


def _content(file: BinaryIO, path: str, fasta: bool) -> bytes:
    content = read_content(file, path, "data.path", FASTA if fasta else TEXT)
    return fasta_bases(content, path) if fasta else content


def standard_library(root: Path) -> bytes:
    # In the order of hashed names the held-out end is a random sample of files, not those whose names begin with z.
    names = sorted(_sources(root), key=lambda name: hashlib.sha256(name.encode()).digest())
    return b"".join((root / name).read_bytes() for name in names)


def _sources(root: Path) -> Iterator[str]:
    """Yield the relative POSIX paths of the source files."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT_FOLDERS and not name.startswith("config-")]
        for name in files:
            if name.endswith(".py") and name not in LEFT_OUT_FILES and not name.startswith("_sysconfigdata"):
                yield Path(folder, name).relative_to(root).as_posix()
