"""The file that a user names with -o: replaced whole, and nothing else in its place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.output import output_file, write_output


def test_a_file_is_replaced_whole_in_a_folder_that_is_made(tmp_path: Path):
    path = tmp_path / "new" / "deep" / "x.csv"
    write_output(path, "older")
    write_output(path, b"\x00newer")
    assert path.read_bytes() == b"\x00newer"
    assert [each.name for each in path.parent.iterdir()] == ["x.csv"]


def test_half_a_character_does_not_stop_the_writing(tmp_path: Path):
    write_output(tmp_path / "x", "half \ud83e")
    assert (tmp_path / "x").read_bytes() == b"half ?"


def test_an_error_on_the_way_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text("older")
    with pytest.raises(ZeroDivisionError), output_file(path) as file:
        file.write(b"half" * (1 // 0))
    assert path.read_text() == "older"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_file_keeps_its_permissions(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text("older")
    path.chmod(0o640)
    write_output(path, "newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, there: bool):
    target, link = tmp_path / "target" / "x", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_text("older")
    link.symlink_to("target/x")
    write_output(link, "newer")
    assert link.is_symlink()
    assert target.read_text() == "newer"


def test_a_link_to_itself_is_refused_and_stays(tmp_path: Path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(UserError, match=r"x: cannot be written .*symbolic links"):
        write_output(tmp_path / "x", "newer")
    assert (tmp_path / "x").is_symlink()


def test_a_fifo_is_written_to_and_stays(tmp_path: Path):
    fifo, read = tmp_path / "fifo", list[bytes]()
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    write_output(fifo, "newer")
    reader.join()
    assert read == [b"newer"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_to_and_stays():
    write_output(Path("/dev/null"), "newer")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_standard_stream_into_a_file_is_written_behind_what_is_there(tmp_path: Path):
    with (tmp_path / "x").open("w") as file:
        file.write("before\n")
        file.flush()
        write_output(Path(f"/dev/fd/{file.fileno()}"), "newer")
    assert (tmp_path / "x").read_text() == "before\nnewer"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be written .Is a directory.; name another file"):
        write_output(tmp_path, "page")
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match=r"y: cannot be written .*; name another file"):
        write_output(tmp_path / "x" / "y", "page")
