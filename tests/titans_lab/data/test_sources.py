from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from titans_lab.data import sources
from titans_lab.data.sources import Source, documents
from titans_lab.errors import UserError

LINES = b"one\ntwo \xe2\x82\xac\nthree"


def read(path: Path | str, key: str = "text", utf8: bool = True) -> list[bytes]:
    return [b"".join(document) for document in documents(Source(str(path), key), utf8)]


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_is_one_document_plain_or_gzip(tmp_path: Path, pack: Callable[[bytes], bytes]):
    path = tmp_path / "text"
    path.write_bytes(pack(LINES))
    assert read(path) == [LINES]


def test_blocks_of_a_long_file_end_with_lines_and_make_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "BLOCK", 5)
    path = tmp_path / "text.txt"
    path.write_bytes(LINES)
    [blocks] = [list(document) for document in documents(Source(str(path)), utf8=True)]
    assert len(blocks) == 2
    assert b"".join(blocks) == LINES


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_of_json_is_a_document(tmp_path: Path, pack: Callable[[bytes], bytes]):
    path = tmp_path / ("rows.jsonl" if pack is bytes else "rows.jsonl.gz")
    path.write_bytes(pack(lines({"text": "a\n€"}, {"text": ""}) + b"\n" + lines({"text": "b", "id": 3})))
    assert read(path) == ["a\n€".encode(), b"", b"b"]
    path.write_bytes(pack(lines({"body": "c"})))
    assert read(path, key="body") == [b"c"]


def test_a_folder_is_its_files_by_name_and_hidden_ones_are_left_out(tmp_path: Path):
    content = {
        "b.txt": b"2",
        "a/z.txt": b"1",
        "c.jsonl": lines({"text": "3"}, {"text": "4"}),
        ".git/x": b"no",
        ".y": b"",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert read(tmp_path) == [b"1", b"2", b"3", b"4"]


ROW = lines({"text": "fine"})
BAD = {
    "truncated gzip": ("x.txt", gzip.compress(os.urandom(3000))[:-9], r"x\.txt:\d+: cannot be read .*fetch it again"),
    "damaged gzip": ("x.txt", gzip.compress(LINES) + b"tail", r"x\.txt:\d+: cannot be read"),
    "truncated gzip of rows": ("x.jsonl", gzip.compress(ROW * 9)[:-9], r"x\.jsonl:\d+: cannot be read"),
    "no JSON": ("x.jsonl", ROW + b"{'text': 1}\n", r"x\.jsonl:2: no JSON"),
    "a torn line": ("x.jsonl", ROW + ROW[:-5], r"x\.jsonl:2: no JSON"),
    "no object": ("x.jsonl", b"\n[1]\n", r"x\.jsonl:2: not a JSON object, but list"),
    "no such key": ("x.jsonl", ROW + lines({"body": "", "id": 1}), r"x\.jsonl:2: no 'text'; .*--key: body, id"),
    "no text": ("x.jsonl", ROW * 2 + lines({"text": 3}), r"x\.jsonl:3: 'text' holds no text, but int"),
    "half a character": ("x.jsonl", b'{"text": "\\ud800"}', r"x\.jsonl:1: 'text' holds half a character"),
    "no UTF-8 in JSON": ("x.jsonl", ROW + b'{"text": "\xff"}', r"x\.jsonl:2: byte 11 of the line is not UTF-8"),
    "no UTF-8": ("x.txt", b"a\nb\n\xff", r"x\.txt:3: not UTF-8 .*--tokenizer bytes"),
    "half a character at the end": ("x.txt", "a\n€".encode()[:-1], r"x\.txt:2: not UTF-8"),
    "empty": ("x.txt", b"", r"x\.txt: empty"),
    "no rows": ("x.jsonl", b"\n\n", r"x\.jsonl: empty"),
}


@pytest.mark.parametrize(("name", "content", "complaint"), BAD.values(), ids=BAD)
def test_bad_input_is_named_by_file_and_line(tmp_path: Path, name: str, content: bytes, complaint: str):
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=complaint) as error:
            read(path)
        assert str(error.value).startswith(str(tmp_path / name))


def test_bytes_may_be_any(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"caf\xe9")
    assert read(tmp_path / "x", utf8=False) == [b"caf\xe9"]


def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path: Path):
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + ROW)
    (tmp_path / "y.txt").write_bytes(b"\xef\xbb\xbf" + LINES)
    assert read(tmp_path) == [b"fine", LINES]


def test_the_rows_of_a_parquet_file_are_documents(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [1, 2], "text": ["one", "two €"], "body": ["a", None]}), path)
    assert read(path) == [b"one", "two €".encode()]
    with pytest.raises(UserError, match=r"rows\.parquet: row 1: no 'words'; .* with --key: id, text, body"):
        read(path, key="words")
    with pytest.raises(UserError, match=r"rows\.parquet: row 2: 'body' holds no text, but NoneType"):
        read(path, key="body")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"rows\.parquet: row 1: cannot be read .*; fetch the file again"):
        read(path)


def test_a_folder_with_a_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(LINES)
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04" + LINES)
    with pytest.raises(UserError, match=r"b\.zip: is a zip archive, no text; unpack it"):
        read(tmp_path, utf8=False)


def test_a_wrong_path_and_an_empty_folder_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"no-such: no such file or folder"):
        read(tmp_path / "no-such")
    with pytest.raises(UserError, match=r": a folder without files"):
        read(tmp_path)


TABLE = pa.table({"id": [1, 2, 3], "text": ["one", "two €", "three"], "body": ["a", None, "c"]})


def write_arrow(path: Path, stream: bool, table: pa.Table = TABLE) -> None:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with path.open("wb") as file, make(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_the_rows_of_an_arrow_file_are_documents(tmp_path: Path, stream: bool):
    path = tmp_path / "rows.arrow"
    write_arrow(path, stream)
    assert read(path) == [b"one", "two €".encode(), b"three"]
    with pytest.raises(UserError, match=r"rows\.arrow: row 1: no 'words'; .* with --key: id, text, body"):
        read(path, key="words")
    with pytest.raises(UserError, match=r"rows\.arrow: row 2: 'body' holds no text, but NoneType"):
        read(path, key="body")
    whole = path.read_bytes()
    for size in (len(whole) - 8, len(whole) // 2, 20):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"rows\.arrow: row \d: cannot be read .*; fetch the file again"):
            read(path)


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_offsets_that_point_outside_of_an_arrow_file_are_not_followed(tmp_path: Path, stream: bool):
    offsets, letters = pa.py_buffer(b"\0\0\0\0\0\0\0\x40\3\0\0\0"), pa.py_buffer(b"abc")
    text = pa.StringArray.from_buffers(2, offsets, letters)
    path = tmp_path / "rows.arrow"
    write_arrow(path, stream, pa.table({"text": text}))
    with pytest.raises(UserError, match=r"rows\.arrow: row 1: cannot be read"):
        read(path)


def save(folder: Path, names: list[object]) -> Path:
    """Write what `save_to_disk` of Hugging Face's `datasets` writes, with rows in each named file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def test_a_dataset_that_was_saved_to_disk_is_its_arrow_files_in_order(tmp_path: Path):
    folder = save(tmp_path / "saved", ["b.arrow", "a.arrow"])
    write_arrow(folder / "a.arrow", True)
    write_arrow(folder / "b.arrow", True, TABLE.slice(1, 1))
    write_arrow(folder / "other.arrow", True)
    assert read(folder) == ["two €".encode(), b"one", "two €".encode(), b"three"]


def test_a_saved_dataset_with_splits_asks_for_one(tmp_path: Path):
    for split in ("train", "test"):
        save(tmp_path / split, ["a.arrow"])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UserError, match=rf"with splits; name the folder of one: {tmp_path}/test, {tmp_path}/train"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a.arrow", "b.arrow"], r"b\.arrow: missing, and state\.json names it; save the dataset again"),
        (["../a.arrow"], r"state\.json: names no file of its folder"),
        (["/etc/passwd"], r"state\.json: names no file of its folder"),
        ([], r"state\.json: names no file of its folder"),
        ([3], r"state\.json: does not name the files of a saved dataset"),
    ],
)
def test_a_saved_dataset_reads_files_of_its_folder_alone(tmp_path: Path, names: list[object], complaint: str):
    write_arrow(tmp_path / "a.arrow", True)
    folder = save(tmp_path / "saved", names)
    write_arrow(folder / "a.arrow", True)
    with pytest.raises(UserError, match=complaint):
        read(folder)


def test_a_saved_dataset_whose_state_is_damaged_is_named(tmp_path: Path):
    (save(tmp_path, ["a.arrow"]) / "state.json").write_text('{"_data_files": ')
    with pytest.raises(UserError, match=r"state\.json: does not name the files of a saved dataset"):
        read(tmp_path)
