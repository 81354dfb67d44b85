from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from titans_lab.data.files import read_bytes, signature, table
from titans_lab.errors import UserError


def read(path: Path) -> bytes:
    return read_bytes(str(path), "data.path", "a list")


def test_gzip_is_told_by_its_content(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"abc")
    (tmp_path / "packed").write_bytes(gzip.compress(b"abc"))
    assert read(tmp_path / "plain") == read(tmp_path / "packed") == b"abc"


def test_what_cannot_be_read_is_said_with_the_key_and_the_remedy(tmp_path: Path):
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
    with pytest.raises(UserError, match=r"^data\.path: 'a\\x00b' is no path"):
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
