"""The text that a study trains on: Python's own standard library, a file, or a folder of prepared tokens."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from titans_lab.data.bases import FASTA, read_fasta
from titans_lab.data.files import read_any_bytes, signature
from titans_lab.data.prepared import Manifest, map_part, read_manifest, read_tokenizer
from titans_lab.data.tokenizer import BYTES, Tokenizer
from titans_lab.errors import UserError
from titans_lab.study.sections import DataConfig

LARGEST_FILE = 2**30  # bytes; each plan hashes a file, and each worker holds it in memory
TEXT = "a text file, plain or gzip, a prepared folder, or null for Python's standard library"
SMALLEST_PART = 2  # bytes of either part: one to read and one to predict

# Installers and distributions strip, move or rewrite these; without them two installs of one Python version agree.
LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "idlelib", "lib2to3", "tkinter"}
    | {"turtledemo", "ensurepip", "distutils", "macholib", "pydoc_data"}
)
LEFT_OUT_FILES = frozenset({"_distutils_system_mod.py", "sitecustomize.py", "usercustomize.py", "turtle.py"})


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text and its split, as tokens.

    Attributes:
        source: Where it is from, for people: "Python 3.11.7 standard library", or the path given.
        digest: In hex: SHA-256 of the bytes before splitting, or a prepared folder's, of its text and tokenizer.
        train: All tokens but the held-out ones; read-only.
        valid: The held-out ones, or those of its first `valid_bytes`; read-only.
        tokenizer: What the tokens are.
    """

    source: str
    digest: str
    train: np.ndarray
    valid: np.ndarray
    tokenizer: Tokenizer = BYTES

    def first_bytes(self, limit: int | None) -> np.ndarray:
        """The held-out tokens, or as many from their start as come to at most `limit` bytes, two at least."""
        if limit is None:
            return self.valid
        start = self.valid[:limit]  # a token has a byte at least
        return start[: max(2, np.searchsorted(self.tokenizer.widths[start].cumsum(), limit, side="right"))]


def load_corpus(config: DataConfig, fasta: bool = False) -> Corpus:
    """Read and split the text; `UserError` if it cannot be read or is too small for the split.

    Args:
        config: What to read.
        fasta: The text are the bases of a FASTA file, without headers and line ends.
    """
    corpus = _plain_corpus(config, fasta) if fasta or not _is_folder(config) else _prepared_corpus(config)
    return replace(corpus, valid=corpus.first_bytes(config.valid_bytes))


def corpus_digest(config: DataConfig, fasta: bool = False) -> str:
    """`Corpus.digest` alone, with the same checks; remembered within a process while the file is unchanged."""
    if not fasta and _is_folder(config):
        return _manifest(config).digest
    unchanged = signature(str(config.path), "data.path", FASTA) if fasta else _signature(config.path)
    digest, size = _measure(config.path, fasta, unchanged)
    _cut(config, size)
    return digest


def corpus_source(config: DataConfig) -> str:
    """`Corpus.source` alone; reads nothing."""
    return f"Python {platform.python_version()} standard library" if config.path is None else config.path


def trained_tokenizer(config: DataConfig, vocabulary: int, digest: str) -> Tokenizer:
    """That of a run whose data had this digest; UserError where it has none, or its folder is gone or changed."""
    path = config.path
    if _is_folder(config):
        manifest = _manifest(config)
        if manifest.digest != digest:
            raise UserError(f"data.path: {path} is not what the run was trained on; prepare that text again")
        return read_tokenizer(Path(str(path)), manifest)
    if path is not None and not Path(path).exists() and vocabulary > len(BYTES.pieces):
        raise UserError(f"data.path: {path} is gone, and with it the run's tokenizer; put it back")
    return BYTES


def check_vocabulary(config: DataConfig, given: int) -> None:
    """UserError where the text has tokens that a model's vocabulary has no place for."""
    if not _is_folder(config):
        return  # every model has place for a byte
    manifest = _manifest(config)
    if given < manifest.vocabulary:
        raise UserError(
            f"model.vocab_size: {given} is below the {manifest.vocabulary} tokens of {config.path} "
            f"({manifest.tokenizer}); set model.vocab_size={manifest.vocabulary}"
        )


def _is_folder(config: DataConfig) -> bool:
    return config.path is not None and os.path.isdir(config.path)  # noqa: PTH112 Path's raises at some names


def _manifest(config: DataConfig) -> Manifest:
    if config.valid_fraction != DataConfig().valid_fraction:
        raise UserError(
            f"data.valid_fraction: {config.path} was split when it was prepared (its --valid-fraction); remove this one"
        )
    try:
        return read_manifest(Path(str(config.path)))
    except UserError as error:
        raise UserError(f"data.path: {error}") from error


def _prepared_corpus(config: DataConfig) -> Corpus:
    folder, manifest = Path(str(config.path)), _manifest(config)
    train, valid = (map_part(folder, manifest, name) for name in ("train", "valid"))
    return Corpus(corpus_source(config), manifest.digest, train, valid, read_tokenizer(folder, manifest))


def _plain_corpus(config: DataConfig, fasta: bool) -> Corpus:
    content = _read(config.path, fasta)
    cut = _cut(config, len(content))
    tokens = np.frombuffer(content, dtype=np.uint8)
    return Corpus(corpus_source(config), hashlib.sha256(content).hexdigest(), tokens[:cut], tokens[cut:])


@lru_cache(maxsize=64)
def _measure(path: str | None, fasta: bool, signature: tuple[int, int] | None) -> tuple[str, int]:
    content = _read(path, fasta)
    return hashlib.sha256(content).hexdigest(), len(content)


def _signature(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    size, changed = signature(path, "data.path", TEXT)
    if size > LARGEST_FILE:
        raise UserError(
            f"data.path: {path} has {size} bytes, more than {LARGEST_FILE}: too large to read each time; "
            f"read it once with `titans-lab data prepare {path} -o FOLDER`, and then data.path=FOLDER"
        )
    return size, changed


def _cut(config: DataConfig, size: int) -> int:
    """Bytes of the training part."""
    held_out = int(size * config.valid_fraction)
    if min(size - held_out, held_out) < SMALLEST_PART:
        raise UserError(
            f"data.path: {corpus_source(config)} has {size} bytes: {size - held_out} to train on and {held_out} held "
            f"out by data.valid_fraction {config.valid_fraction}; give a longer text or another fraction"
        )
    return size - held_out


def _read(path: str | None, fasta: bool) -> bytes:
    if path is None:
        return _standard_library(Path(sysconfig.get_path("stdlib")))
    return read_fasta(path) if fasta else read_any_bytes(path, "data.path", TEXT)


def _standard_library(root: Path) -> bytes:
    # In the order of hashed names the held-out end is a sample of the files, not those whose names begin with z.
    names = sorted(_sources(root), key=lambda name: hashlib.sha256(name.encode()).digest())
    return b"".join((root / name).read_bytes() for name in names)


def _sources(root: Path) -> Iterator[str]:
    """Relative POSIX paths of the source files."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT_FOLDERS and not name.startswith("config-")]
        for name in files:
            if name.endswith(".py") and name not in LEFT_OUT_FILES and not name.startswith("_sysconfigdata"):
                yield Path(folder, name).relative_to(root).as_posix()
