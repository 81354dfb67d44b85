"""Read documents from files, folders, JSON lines, Parquet, Arrow and Hugging Face datasets, as blocks of bytes."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from titans_lab.data.files import (
    BLOCK,
    BYTE_ORDER_MARK,
    DAMAGE,
    SAMPLE,
    open_file,
    refuse_foreign,
    signature_of,
    unpacked,
)
from titans_lab.errors import UserError

HUB = "hf:"
JSON_LINES = (".jsonl", ".ndjson", ".json")
PACKED = (".gz", ".bz2", ".xz", ".zst")
TABLES = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")  # the first bytes of Parquet, and of Arrow's files and streams
#: What Hugging Face's `save_to_disk` writes beside Arrow files, for a dataset and for one with splits.
SAVED, SPLITS = "state.json", "dataset_dict.json"
MOST_JSON = 2**24  # bytes of these
SOURCE = "the text"  # the name in errors of a file that no key of a study names
TEXT = "a text, JSON lines, Parquet or Arrow"

Document = Iterator[bytes]


@dataclass(frozen=True)
class Source:
    """The origin of a text.

    Attributes:
        name: A file or a folder of files, each plain or compressed, a folder that `save_to_disk` of Hugging Face's
            `datasets` wrote, or `hf:REPOSITORY[:CONFIGURATION[:SPLIT]]`, a dataset on the Hugging Face hub, which needs
            the network. A file is Parquet or Arrow by its first bytes, JSON lines by its name (.jsonl, .ndjson, .json,
            also before .gz, .bz2, .xz or .zst), else one document.
        key: The name of the text in a JSON line or a row.
    """

    name: str
    key: str = "text"

    @property
    def on_the_hub(self) -> bool:
        return self.name.startswith(HUB)


def documents(source: Source, utf8: bool) -> Iterator[Document]:
    """Yield the documents as iterators of blocks, which must be read in order.

    Args:
        source: The source.
        utf8: Whether to refuse text files that are not UTF-8. JSON lines must always be UTF-8.

    Raises:
        UserError: The source cannot be read. It is raised while reading, and names file and line.
    """
    if source.on_the_hub:
        yield from map(_one, _rows(source))
        return
    for path in files(source):
        if _begin(path).startswith(TABLES):
            yield from map(_one, _table(path, source.key))
        elif is_json_lines(path):
            yield from map(_one, _json_lines(path, source.key))
        else:
            yield _checked(_blocks(path), path) if utf8 else _blocks(path)


def files(source: Source) -> list[Path]:
    """Return the file, or all files below the folder by name, without hidden ones."""
    root = Path(source.name).expanduser()
    if not root.exists():
        raise UserError(f"{root}: no such file or folder, relative to {Path.cwd()}")
    if not root.is_dir():
        return [root]
    if (root / SPLITS).is_file():
        raise UserError(f"{root}: a dataset with splits; name the folder of one: {_splits(root)}")
    if (root / SAVED).is_file():
        return _saved(root)
    below = (path for path in root.rglob("*") if path.is_file())
    found = sorted(path for path in below if not any(part.startswith(".") for part in path.relative_to(root).parts))
    if not found:
        raise UserError(f"{root}: a folder without files; name one that has some")
    return found


def _splits(root: Path) -> str:
    return ", ".join(str(path.parent) for path in sorted(root.glob(f"*/{SAVED}"))) or "it has none"


def _saved(root: Path) -> list[Path]:
    """Return the Arrow files of a saved dataset in their order."""
    path = root / SAVED
    with open_file(path, SOURCE, TEXT) as file:
        content = file.read(MOST_JSON)
    try:
        names = [entry["filename"] for entry in json.loads(content)["_data_files"]]
        paths = [root / name for name in names if Path(name).name == name]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: does not name the files of a saved dataset ({error}); save it again") from error
    if not paths or len(paths) < len(names):
        raise UserError(f"{path}: names no file of its folder; save the dataset again")
    if missing := [name for name in paths if not name.is_file()]:
        raise UserError(f"{missing[0]}: missing, and {SAVED} names it; save the dataset again")
    return paths


def is_json_lines(path: Path) -> bool:
    """Return whether a file has one document per line, judged by its name."""
    name = path.name.lower()
    return next((name.removesuffix(each) for each in PACKED if name.endswith(each)), name).endswith(JSON_LINES)


def _one(text: bytes) -> Document:
    yield text


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a text file, unpacked and after its byte-order mark. Raise UserError where it is empty or no text."""
    begin = _begin(path)
    refuse_foreign(begin, f"{path}:", TEXT)
    with open_file(path, SOURCE, TEXT) as packed:
        file = unpacked(packed)
        if begin.startswith(BYTE_ORDER_MARK):
            file.read(len(BYTE_ORDER_MARK))
        yield file


def _begin(path: Path) -> bytes:
    """Return the first unpacked bytes of a file. Raise UserError where it is empty."""
    with open_file(path, SOURCE, TEXT) as file:
        try:
            begin = unpacked(file).read(SAMPLE) if signature_of(file).size else b""
        except DAMAGE as error:
            raise _damaged(path, 1, error) from error
    if not begin:
        raise UserError(f"{path}: empty; fetch it again or leave it out")
    return begin


def _blocks(path: Path) -> Document:
    line = 1
    with open_text(path) as file:
        while block := _read(file, path, line):
            yield block
            line += block.count(b"\n")


def _read(file: BinaryIO, path: Path, line: int) -> bytes:
    try:
        return file.read(BLOCK) + file.readline(BLOCK)  # usually whole lines, and so whole characters
    except DAMAGE as error:
        raise _damaged(path, line, error) from error


def _damaged(path: Path, line: int, error: Exception) -> UserError:
    return UserError(f"{path}:{line}: cannot be read on from this line or one after it ({error}); fetch it again")


def _checked(blocks: Document, path: Path) -> Document:
    """Yield the same blocks. Raise UserError at the first byte that is not UTF-8."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    for block in blocks:
        _decode(decoder, block, path, line)
        line += block.count(b"\n")
        yield block
    _decode(decoder, b"", path, line, final=True)


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, path: Path, line: int, final: bool = False) -> None:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError as error:
        place = line + error.object[: error.start].count(b"\n")
        raise UserError(f"{path}:{place}: not UTF-8 ({error.reason}); --tokenizer bytes takes any bytes") from error


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line that is not blank. Raise UserError where one is no JSON object in UTF-8."""
    line = 0
    with open_text(path) as file:
        try:
            for line, content in enumerate(file, 1):
                if content.strip():
                    yield line, _object(content, f"{path}:{line}")
        except DAMAGE as error:
            raise _damaged(path, line + 1, error) from error


def _object(content: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: byte {error.start + 1} of the line is not UTF-8 ({error.reason})") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{place}: no JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{place}: not a JSON object, but {type(value).__name__}")
    return value


def _json_lines(path: Path, key: str) -> Iterator[bytes]:
    empty = True
    for line, value in json_objects(path):
        yield _text(value, key, f"{path}:{line}")
        empty = False
    if empty:
        raise UserError(f"{path}: empty; it has no line of JSON")


def _text(row: dict[str, Any], key: str, place: str) -> bytes:
    if key not in row:
        raise UserError(f"{place}: no {key!r}; name one of its keys with --key: {', '.join(row)}")
    if not isinstance(row[key], str):
        raise UserError(f"{place}: {key!r} holds no text, but {type(row[key]).__name__}; name another key with --key")
    try:
        return row[key].encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place}: {key!r} holds half a character (a lone surrogate)") from error


def _table(path: Path, key: str) -> Iterator[bytes]:
    from titans_lab.data.arrow import table_rows

    number = 0
    with open_file(path, SOURCE, TEXT) as file:
        try:
            for number, row in enumerate(table_rows(file, key), 1):
                yield _text(row, key, f"{path}: row {number}")
        except OSError as error:
            raise UserError(f"{path}: row {number + 1}: cannot be read ({error}); fetch the file again") from error
    if not number:
        raise UserError(f"{path}: empty; it has no row")


def _rows(source: Source) -> Iterator[bytes]:
    """Yield the texts of a dataset on the hub, streamed."""
    repository, configuration, split = _address(source.name)
    for number, row in enumerate(_stream(source.name, repository, configuration, split), 1):
        yield _text(row, source.key, f"{source.name}: row {number}")


def _address(name: str) -> tuple[str, str | None, str]:
    """Return the parts of `hf:REPOSITORY[:CONFIGURATION[:SPLIT]]`. The split is `train` by default."""
    repository, _, rest = name.removeprefix(HUB).partition(":")
    configuration, _, split = rest.partition(":")
    return repository, configuration or None, split or "train"


def _stream(name: str, repository: str, configuration: str | None, split: str) -> Iterator[dict[str, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{name}: needs the package `datasets`: pip install datasets") from error
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(repository, configuration, split=split, streaming=True)
        yield from rows
    except Exception as error:  # many libraries raise: the network's, the hub's, those of the dataset's format
        raise UserError(f"{name}: cannot be loaded ({type(error).__name__}: {error})") from error
