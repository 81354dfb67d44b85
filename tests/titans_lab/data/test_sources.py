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
