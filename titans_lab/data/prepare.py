"""Prepare a folder of tokens: copy the text to the disk, split it, and tokenize it block by block.

The folder is whole or absent: it is made under a temporary name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import secrets
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from titans_lab.data.files import BLOCK
from titans_lab.data.prepared import (
    FORMAT,
    TOKENIZER,
    Manifest,
    Part,
    part_content,
    read_manifest,
    verify,
    write_manifest,
)
from titans_lab.data.sources import Document, Source, documents, files
from titans_lab.data.tokenizer import BYTES, SEPARATOR, SMALLEST, Tokenizer, read_bpe, read_tokenizer_json, train_bpe
from titans_lab.errors import UserError

BATCH = 8 * BLOCK  # bytes that are tokenized together
TOKENIZERS = "bytes, bpe:N, gpt2:VOCABULARY,MERGES or json:FILE"
#: A place to cut a text. No pre-tokenizer looks across it, so the two sides have the same tokens as the whole text.
SEAM = re.compile(rb"[ \n](?=[!-~])")

#: A function that is called with the current step, the bytes done, and the total bytes if known.
Look = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Request:
    """A request to prepare a text.

    Attributes:
        source: The training text. Its end is held out unless `valid` is given.
        valid: A separate text to hold out.
        tokenizer: "bytes", "bpe:N", "gpt2:VOCABULARY,MERGES" or "json:FILE".
        valid_fraction: The share of the bytes, at the end, that is held out without `valid`.
        limit: The most bytes to read of the source. A character that the limit cuts in two is left out.
        one_document: Whether the source is one document, for rows that are lines of one text.
    """

    source: Source
    valid: Source | None = None
    tokenizer: str = "bytes"
    valid_fraction: float = 0.05
    limit: int | None = None
    one_document: bool = False


class Span(NamedTuple):
    """A document or a part of one, as byte offsets in the text."""

    begin: int
    end: int


class TextBlock(NamedTuple):
    """A piece of a document. `begins` says that it begins a document that follows another one."""

    text: bytes
    begins: bool


def prepare(request: Request, folder: Path, look: Look) -> tuple[Manifest, bool]:
    """Make the folder unless it exists, and return its manifest and whether it existed.

    Raise UserError as `documents`.
    """
    _check(request)
    record = asdict(request) | {"files": [_signature(path) for path in _files(request)]}
    if folder.exists():
        return _existing(folder, record), True
    with _temporary(folder) as temporary:
        manifest = _make(request, record, temporary, look)
        write_manifest(temporary, manifest)
        temporary.rename(folder)
    return manifest, False


def _check(request: Request) -> None:
    if not 0 < request.valid_fraction < 1:
        raise UserError(f"--valid-fraction: {request.valid_fraction} is not between 0 and 1")
    kind, _, rest = request.tokenizer.partition(":")
    fits = {"bytes": not rest, "bpe": rest.isdecimal(), "gpt2": len(rest.split(",")) == 2, "json": bool(rest)}
    if not fits.get(kind):
        raise UserError(f"--tokenizer: {request.tokenizer!r} is not {TOKENIZERS}")
    if kind == "bpe" and int(rest) < SMALLEST:
        raise UserError(f"--tokenizer: {rest} tokens are fewer than the {SMALLEST} of every byte and the end of a text")


def _files(request: Request) -> list[Path]:
    named = [source for source in (request.source, request.valid) if source and not source.on_the_hub]
    kind, _, rest = request.tokenizer.partition(":")
    given = {"gpt2": rest.split(","), "json": [rest]}.get(kind, [])
    return [path for source in named for path in files(source)] + list(map(Path, given))


def _signature(path: Path) -> list[Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file, relative to {Path.cwd()}")
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def _existing(folder: Path, record: dict[str, Any]) -> Manifest:
    if not folder.is_dir():
        raise UserError(f"{folder}: exists and is not a folder; give another -o")
    manifest = read_manifest(folder)
    verify(folder, manifest)
    if manifest.request != json.loads(json.dumps(record)):
        raise UserError(f"{folder}: exists and was prepared from something else; give another -o or remove it")
    return manifest


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(request: Request, record: dict[str, Any], folder: Path, look: Look) -> Manifest:
    with _text(request, request.source, request.limit, folder, look) as (train_text, spans):
        if request.valid:
            with _text(request, request.valid, None, folder, look) as (valid_text, held_out):
                return _write(request, record, folder, look, [(train_text, spans), (valid_text, held_out)])
        kept, held_out = _split(train_text, spans, request.valid_fraction, request.source.name)
        return _write(request, record, folder, look, [(train_text, kept), (train_text, held_out)])


@contextmanager
def _text(
    request: Request, source: Source, limit: int | None, folder: Path, look: Look
) -> Iterator[tuple[mmap.mmap, list[Span]]]:
    """Copy the text of a source to a temporary file, and yield it mapped into memory, with its documents' spans."""
    path = folder / "text"
    ends = array("Q", [0])
    with path.open("wb") as file:
        for place in _copy(documents(source, utf8=request.tokenizer != "bytes"), limit, file, look):
            if place > ends[-1]:  # a document may be empty
                ends.append(place)
    if len(ends) == 1:
        raise UserError(f"{source.name}: empty; it has no text")
    begins = ends[:1] if request.one_document else ends[:-1]
    with path.open("rb") as whole, mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as text:
        path.unlink()
        yield text, [Span(begin, end) for begin, end in zip(begins, ends[-len(begins) :], strict=True)]


def _copy(found: Iterator[Document], limit: int | None, file: IO[bytes], look: Look) -> Iterator[int]:
    """Write documents up to the limit, and yield the offset at which each ends."""
    for document in found:
        for block in document:
            room = len(block) if limit is None else limit - file.tell()
            file.write(_first_bytes(block, room))
            look("reading", file.tell(), limit)
            if len(block) >= room and limit is not None:
                yield file.tell()
                return
        yield file.tell()


def _first_bytes(text: bytes, size: int) -> bytes:
    """Return at most `size` bytes, without a UTF-8 character that would be cut in two."""
    while 0 < size < len(text) and text[size] & 0b1100_0000 == 0b1000_0000:
        size -= 1
    return text[:size]


def _split(text: mmap.mmap, spans: list[Span], fraction: float, name: str) -> tuple[list[Span], list[Span]]:
    """Return the documents before and after the split, which falls between two characters."""
    size = len(text)
    cut = size - int(size * fraction)
    while cut < size and text[cut] & 0b1100_0000 == 0b1000_0000:  # inside a UTF-8 character
        cut += 1
    if min(cut, size - cut) < 2:
        raise UserError(
            f"{name}: has {size} bytes: {cut} to train on and {size - cut} held out by --valid-fraction {fraction}; "
            "give a longer text, another fraction, or --valid"
        )
    kept = [Span(begin, min(end, cut)) for begin, end in spans if begin < cut]
    return kept, [Span(max(begin, cut), end) for begin, end in spans if end > cut]


def _write(
    request: Request, record: dict[str, Any], folder: Path, look: Look, texts: list[tuple[mmap.mmap, list[Span]]]
) -> Manifest:
    tokenizer = _tokenizer(request.tokenizer, partial(blocks_of, *texts[0], partial(look, "training the BPE")))
    (folder / TOKENIZER).write_text(json.dumps(tokenizer.definition) + "\n")
    dtype = np.min_scalar_type(len(tokenizer.pieces) - 1)
    train, valid = (
        _write_part(folder / f"{name}.bin", tokenizer, dtype, blocks_of(*text, partial(look, f"writing {name}")))
        for name, text in zip(("train", "valid"), texts, strict=True)
    )
    if min(train.tokens, valid.tokens) < 2:
        raise UserError(f"{request.source.name}: less than two tokens to train on or held out; give a longer text")
    return Manifest(FORMAT, record, tokenizer.name, tokenizer.digest, len(tokenizer.pieces), dtype.name, train, valid)


def _tokenizer(name: str, blocks: Callable[[], Iterator[TextBlock]]) -> Tokenizer:
    kind, _, rest = name.partition(":")
    if kind == "bpe":
        return train_bpe(name, int(rest), (block.text for block in blocks()))
    if kind == "gpt2":
        vocabulary, merges = rest.split(",")
        return read_bpe("gpt2", Path(vocabulary), Path(merges))
    if kind == "json":
        return read_tokenizer_json(Path(rest))
    return BYTES


def blocks_of(text: mmap.mmap, spans: list[Span], look: Callable[[int, int | None], None]) -> Iterator[TextBlock]:
    """Yield the documents' text in blocks of about `BLOCK` bytes, cut at a `SEAM`."""
    total, done = sum(end - begin for begin, end in spans), 0
    for number, (begin, end) in enumerate(spans):
        first = number > 0
        while begin < end:
            seam = SEAM.search(text, min(begin + BLOCK, end), end)
            stop = seam.start() if seam else end
            yield TextBlock(text[begin:stop], first)
            done += stop - begin
            look(done, total)
            begin, first = stop, False


def _write_part(path: Path, tokenizer: Tokenizer, dtype: np.dtype[Any], blocks: Iterator[TextBlock]) -> Part:
    sha, size, tokens, documents = hashlib.sha256(), 0, 0, 1
    end = np.array([tokenizer.end])
    with path.open("wb") as file:
        for batch in _batches(blocks):
            for block, encoded in zip(batch, tokenizer.encode_blocks([block.text for block in batch]), strict=True):
                content = SEPARATOR * block.begins + block.text
                whole = np.concatenate([end, encoded]) if block.begins else encoded
                sha.update(content)
                file.write(whole.astype(dtype.newbyteorder("<")).tobytes())
                size, tokens, documents = size + len(content), tokens + len(whole), documents + block.begins
    return Part(tokens, size, documents, sha.hexdigest(), part_content(path, dtype.name).sha256)


def _batches(blocks: Iterator[TextBlock]) -> Iterator[list[TextBlock]]:
    """Yield lists of blocks with about `BATCH` bytes."""
    batch: list[TextBlock] = []
    size = 0
    for block in blocks:
        batch.append(block)
        size += len(block.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
