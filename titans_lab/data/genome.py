"""Read labelled DNA sequences in the formats of GenomicBenchmarks and GUE.

GUE (arXiv 2306.15006) has a CSV with the columns `sequence` and `label` for each of train, dev and test;
GenomicBenchmarks (10.1186/s12863-023-01123-8) as CSV or TSV calls them `seq` and `label`, and has no validation part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from titans_lab.data.bases import encoded
from titans_lab.data.files import Signature, read_bytes, signature, table
from titans_lab.data.parts import Part
from titans_lab.errors import UserError
from titans_lab.run.sections import DataConfig

NAMES = ("sequence", "seq")
WANTED = "a CSV or TSV file, plain or gzip, with the columns `sequence` (or `seq`) and `label`"


class Labelled(NamedTuple):
    """A sequence, as indices in `BASES` `[bases]`, and the index of its class."""

    bases: np.ndarray
    label: int


@dataclass(frozen=True, eq=False)
class Genome:
    """Labelled sequences.

    Attributes:
        source: The path of the training file.
        digest: The SHA-256 over the content of all files, in hex.
        classes: The labels of the training file, in order.
        parts: The sequences of each part. Equal sequences of one file are in the same part.
        copies: Keys of the files to validate or test on that have the content of the training file.
    """

    source: str
    digest: str
    classes: tuple[str, ...]
    parts: dict[Part, list[Labelled]]
    copies: tuple[str, ...]


def load_genome(data: DataConfig, classes: int) -> Genome:
    """Read the files, and split parts without a file of their own off the training file.

    Raises:
        UserError: A file is not what `WANTED` says, or has not `classes` classes. The message names file and line.
    """
    contents = {part: read_bytes(path, key, WANTED) for part, key, path in _files(data)}
    rows = {part: list(_rows(contents[part], path)) for part, _, path in _files(data)}
    labels = tuple(sorted({label for _, _, label in rows["train"]}, key=lambda label: (len(label), label)))
    if len(labels) != classes:
        raise UserError(
            f"data.path: {data.path} has {len(labels)} labels ({', '.join(labels[:9])}), and task.genome.classes is "
            f"{classes}; set it to {len(labels)}, or give another file"
        )
    parts: dict[Part, list[Labelled]] = {"train": [], "valid": [], "test": []}
    for part, found in rows.items():
        for place, text, label in found:
            example = Labelled(_encoded(text, place), _class(label, labels, place, data))
            parts[_part(text, data) if part == "train" else part].append(example)
    for part, examples in parts.items():
        if not examples:
            other = "lower" if part == "train" else "raise"
            raise UserError(f"data.path: {data.path} leaves nothing for the {part} part; {other} data.valid_fraction")
    copies = [key for part, key, _ in _files(data) if part != "train" and contents[part] == contents["train"]]
    return Genome(str(data.path), _digest(contents), labels, parts, tuple(copies))


def genome_warnings(data: DataConfig, classes: int) -> list[str]:
    """Return a warning for each validation or test file that has the content of the training file."""
    words = "has the content of data.path, so that it measures what was learned by heart"
    return [f"{key}: {words}" for key in _measured(data, classes)[1]]


def genome_digest(data: DataConfig, classes: int) -> str:
    """Return `Genome.digest` only, with every check. It is cached in the process while the files are unchanged."""
    return _measured(data, classes)[0]


def _measured(data: DataConfig, classes: int) -> tuple[str, tuple[str, ...]]:
    return _measure(data, classes, tuple(signature(path, key, WANTED) for _, key, path in _files(data)))


@lru_cache(maxsize=16)
def _measure(data: DataConfig, classes: int, _: tuple[Signature, ...]) -> tuple[str, tuple[str, ...]]:
    """Return digest and copies of the files with these signatures."""
    genome = load_genome(data, classes)
    return genome.digest, genome.copies


def _files(data: DataConfig) -> Iterator[tuple[Part, str, str]]:
    """Yield part, key and path of each file."""
    files: tuple[tuple[Part, str, str | None], ...] = (
        ("train", "data.path", data.path),
        ("valid", "data.valid_path", data.valid_path),
        ("test", "data.test_path", data.test_path),
    )
    return ((part, key, path) for part, key, path in files if path is not None)


def _digest(contents: Mapping[Part, bytes]) -> str:
    digest = hashlib.sha256()
    for part, content in contents.items():
        digest.update(part.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _rows(content: bytes, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, sequence and label of each line."""
    names, rows = table(content, path)
    found = [name for name in NAMES if name in names]
    if not found or "label" not in names:
        raise UserError(f"{path}:1: the columns are {', '.join(names)}; give {WANTED}")
    sequence, label = names.index(found[0]), names.index("label")
    for line, cells in rows:
        yield f"{path}:{line}", cells[sequence].strip(), cells[label].strip()


def _encoded(text: str, place: str) -> np.ndarray:
    if not text:
        raise UserError(f"{place}: an empty sequence; remove the line")
    return encoded(text.encode(), place)


def _class(label: str, labels: tuple[str, ...], place: str, data: DataConfig) -> int:
    if label not in labels:
        raise UserError(f"{place}: label {label!r} is none of {', '.join(labels)}, those of {data.path}; mend the line")
    return labels.index(label)


def _part(text: str, data: DataConfig) -> Part:
    """Return the part of a line of the training file. The sequence decides, so equal sequences are in the same part."""
    place = int.from_bytes(hashlib.sha256(text.upper().encode()).digest()[:8], "big") / 2**64
    held_out: list[Part] = []
    if data.test_path is None:
        held_out.append("test")
    if data.valid_path is None:
        held_out.append("valid")
    index = int(place / data.valid_fraction)
    return held_out[index] if index < len(held_out) else "train"
