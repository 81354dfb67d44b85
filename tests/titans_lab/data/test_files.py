from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from titans_lab.data import files
from titans_lab.data.files import read_bytes, signature, table
from titans_lab.errors import UserError


def read(path: Path) -> bytes:
    return read_bytes(str(path), "data.path", "a list")


def test_gzip_is_told_by_its_content(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"abc")
    (tmp_path / "packed").write_bytes(gzip.compress(b"abc"))
    assert read(tmp_path / "plain") == read(tmp_path / "packed") == b"abc"


def test_unreadable_data_are_reported_with_the_key_and_the_remedy(tmp_path: Path):
    packed = gzip.compress(bytes(range(200)) * 40)
    for name, content in {"cut": packed[:-20], "torn": packed[:30] + b"?" + packed[31:], "empty": b" \n"}.items():
        (tmp_path / name).write_bytes(content)
    for name, words in {
        "cut": "cut is damaged or cut off .*; fetch or compress it again",
        "torn": "torn is damaged or cut off .*; fetch or compress it again",
        "empty": "empty is empty; give a list",
        "nowhere": r"cannot read .*nowhere \(No such file or directory\); give a list, relative to",
        ".": r"is a folder, not a file; give a list",
    }.items():
        with pytest.raises(UserError, match=f"^data.path: .*{words}"):
            read(tmp_path / name)


def test_a_signature_follows_the_file(tmp_path: Path):
    path = tmp_path / "some"
    path.write_bytes(b"1")
    first = signature(str(path), "data.path", "a list")
    path.write_bytes(b"12")
    assert signature(str(path), "data.path", "a list") != first
    with pytest.raises(UserError, match=r"^data\.path: cannot read .*nowhere"):
        signature(str(tmp_path / "nowhere"), "data.path", "a list")
    with pytest.raises(UserError, match=r"^data\.path: 'a\\x00b' is not a path"):
        signature("a\0b", "data.path", "a list")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_table_has_names_and_numbered_rows(separator: str):
    names, rows = table(f"a{separator}b\n1{separator}2\n3{separator}\n".encode(), "t")
    assert (names, list(rows)) == (["a", "b"], [(2, ["1", "2"]), (3, ["3", ""])])


def test_a_row_of_another_length_is_refused_with_its_line():
    _, rows = table(b"a,b\n1,2\n3\n", "t.csv")
    with pytest.raises(UserError, match=r"^t\.csv:3: 1 cells, and the header names 2 columns; complete or remove"):
        list(rows)


def test_a_cell_that_no_table_has_is_named_with_its_line():
    with pytest.raises(UserError, match=r"x.csv:3: not a table: field larger than field limit .*; mend or remove"):
        list(table(b"date,a\n1,2\n3," + b"9" * 200_000, "x.csv")[1])


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, partial(pa.compress, codec="zstd")]
)
def test_what_is_common_is_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]):
    (tmp_path / "text").write_bytes(bytes(pack(b"some text\n" * 99)))
    assert read(tmp_path / "text") == b"some text\n" * 99


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path):
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf>one\nACGT\n")
    assert read(tmp_path / "text") == b">one\nACGT\n"


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "LARGEST", 1000)
    (tmp_path / "text").write_bytes(gzip.compress(b"a" * 100_000))
    with pytest.raises(UserError, match=r"text has more than 1000 bytes, unpacked: .*titans-lab data prepare"):
        read(tmp_path / "text")


@pytest.mark.parametrize("end", [b"\n", b"\n\n", b"\n  \n\n", b"\r\n\r\n"])
def test_blank_lines_at_the_end_of_a_table_are_no_rows(end: bytes):
    assert list(table(b"a,b\n1,2" + end, "t.csv")[1]) == [(2, ["1", "2"])]
