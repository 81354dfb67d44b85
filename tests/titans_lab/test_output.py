from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.output import output_file, write_output


def test_a_file_is_replaced_when_all_is_written_and_keeps_its_mode(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    path.chmod(0o640)
    with output_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)
    with suppress(KeyboardInterrupt), output_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.csv", "new")]


def test_a_link_stays_and_its_target_is_written(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "folder" / "there", tmp_path / "folder" / "new"):
        link = tmp_path / f"link-{target.name}"
        link.symlink_to(target)
        write_output(link, b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"


def test_a_device_and_a_fifo_stay_what_they_are(tmp_path: Path):
    write_output(Path("/dev/null"), b"nothing")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    device = tmp_path / "null"
    device.symlink_to("/dev/null")
    write_output(device, b"nothing")
    assert device.is_symlink()
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    write_output(fifo, b"through")
    reader.join()
    assert read == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_name_that_the_system_gives_to_an_open_file_is_appended_to(tmp_path: Path):
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before ")
        write_output(Path(f"/dev/fd/{file.fileno()}"), b"after")
    assert (tmp_path / "log").read_bytes() == b"before after"


@pytest.mark.parametrize("name", ["no/such/x", "."])
def test_a_file_that_cannot_be_written_is_a_user_error(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=r"cannot be written \(.*\); name another file$"):
        write_output(tmp_path / name, b"")


def test_a_full_disk_is_an_error_of_the_user():
    with pytest.raises(UserError, match="/dev/full: cannot be written"):
        write_output(Path("/dev/full"), b"x")
