"""The text that a study trains on, as bytes: Python's own standard library, or a file that the user names."""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from titans_lab.bases import read_fasta
from titans_lab.errors import UserError
from titans_lab.study.config import DataConfig

GZIP_MAGIC = b"\x1f\x8b"
SMALLEST_PART = 2  # bytes of either part: one to read and one to predict

# Installers and distributions strip, move or rewrite these; without them two installs of one Python version agree.
LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "idlelib", "lib2to3", "tkinter"}
    | {"turtledemo", "ensurepip", "distutils", "macholib", "pydoc_data"}
)
LEFT_OUT_FILES = frozenset({"_distutils_system_mod.py", "sitecustomize.py", "usercustomize.py", "turtle.py"})


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text and its split.

    Attributes:
        source: Where it is from, for people: "Python 3.11.7 standard library", or the path given.
        digest: SHA-256 of the bytes before splitting, in hex.
        train: All bytes but the held-out end; read-only.
        valid: The held-out end, or its first `valid_bytes`; read-only.
    """

    source: str
    digest: str
    train: np.ndarray
    valid: np.ndarray


def load_corpus(config: DataConfig, fasta: bool = False) -> Corpus:
    """Read and split the text; `UserError` if it cannot be read or is too small for the split.

    Args:
        config: What to read.
        fasta: The text are the bases of a FASTA file, without headers and line ends.
    """
    content = _read(config.path, fasta)
    cut = _cut(config, len(content))
    tokens = np.frombuffer(content, dtype=np.uint8)
    valid = tokens[cut:] if config.valid_bytes is None else tokens[cut : cut + config.valid_bytes]
    return Corpus(corpus_source(config), hashlib.sha256(content).hexdigest(), tokens[:cut], valid)


def corpus_digest(config: DataConfig, fasta: bool = False) -> str:
    """`Corpus.digest` alone, with the same checks; remembered within a process while the file is unchanged."""
    digest, size = _measure(config.path, fasta, _signature(config.path))
    _cut(config, size)
    return digest


def corpus_source(config: DataConfig) -> str:
    """`Corpus.source` alone; reads nothing."""
    return f"Python {platform.python_version()} standard library" if config.path is None else config.path


@lru_cache(maxsize=64)
def _measure(path: str | None, fasta: bool, signature: tuple[int, int] | None) -> tuple[str, int]:
    content = _read(path, fasta)
    return hashlib.sha256(content).hexdigest(), len(content)


def _signature(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    if "\0" in path:
        raise UserError(f"data.path: {path!r} is no path: it holds a zero byte")
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return status.st_size, status.st_mtime_ns


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
    if path is not None and fasta:
        return read_fasta(path)
    if path is None:
        return _standard_library(Path(sysconfig.get_path("stdlib")))
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"data.path: {path} is damaged gzip ({error}); fetch or compress it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> UserError:
    return UserError(
        f"data.path: cannot read {path} ({error.strerror}); give a text file, plain or gzip, relative to {Path.cwd()}, "
        "or null for Python's standard library"
    )


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
