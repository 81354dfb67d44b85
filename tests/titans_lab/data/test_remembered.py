"""What is remembered of a file, and what makes it be read again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from titans_lab.data import remembered as memory
from titans_lab.data.remembered import remembered, user_folder
from titans_lab.errors import UserError


class Reader:
    """Reads files, and counts how often."""

    def __init__(self) -> None:
        self.reads = 0

    def find(self, file: BinaryIO) -> list[str]:
        self.reads += 1
        return [file.read().decode()]

    def __call__(self, path: Path) -> str:
        memory.known.clear()  # as in another process
        [text] = remembered(path, "data.path", "a text", "words", self.find)
        return text


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, which also remembers what was written a moment ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "GRAIN", 0)
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one")
    return tmp_path / "file"


def test_a_file_is_read_once_by_all_processes(path: Path):
    read = Reader()
    assert [read(path), read(path)] == ["one", "one"]
    assert read.reads == 1


def test_a_file_that_was_changed_in_place_is_read_again_even_with_the_same_size_and_time(path: Path):
    read, before = Reader(), path.stat()
    assert read(path) == "one"
    time.sleep(0.02)  # a tick of the kernel's clock
    with path.open("r+") as file:
        file.write("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert read(path) == "two"


def test_a_file_that_was_just_written_is_not_cached(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "GRAIN", 3_600_000_000_000)
    read = Reader()
    assert [read(path), read(path)] == ["one", "one"]
    assert read.reads == 2


def test_another_file_of_the_same_name_is_read(path: Path, tmp_path: Path):
    read = Reader()
    assert read(path) == "one"
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(path)
    assert read(path) == "two"


def test_the_folder_is_the_users_alone(path: Path, cache: Path):
    assert user_folder() == cache / "titans-lab" / "data"
    assert [(cache / "titans-lab").stat().st_mode & 0o777, user_folder().stat().st_mode & 0o777] == [0o700] * 2


@pytest.mark.parametrize("open_to_others", ["titans-lab", "titans-lab/data"])
def test_a_folder_that_others_can_write_to_is_not_believed(path: Path, cache: Path, open_to_others: str):
    read = Reader()
    assert read(path) == "one"
    [entry] = (cache / "titans-lab" / "data").iterdir()
    entry.write_text(entry.read_text().replace("one", "forged"))
    assert read(path) == "forged"  # it was the entry that was asked
    (cache / open_to_others).chmod(0o770)
    assert read(path) == "one"
    assert user_folder() is None


def test_a_link_in_the_folders_place_is_not_followed(path: Path, cache: Path, tmp_path: Path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    cache.mkdir()
    (cache / "titans-lab").symlink_to(tmp_path / "theirs")
    assert Reader()(path) == "one"
    assert not any((tmp_path / "theirs").iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 10_000, '{"found": ["forged"]}', "\0" * 9])
def test_an_entry_that_is_none_is_no_answer(path: Path, cache: Path, content: str):
    read = Reader()
    assert read(path) == "one"
    [entry] = (cache / "titans-lab" / "data").iterdir()
    entry.write_text(content)
    assert read(path) == "one"
    assert read.reads == 2


def test_nothing_is_remembered_where_the_cache_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch):
    for place in ("/proc/none", "/dev/null"):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        assert Reader()(path) == "one"


def test_a_file_that_is_written_to_while_it_is_read_is_refused(path: Path):
    def find(file: BinaryIO) -> str:
        path.write_text("longer")
        return file.read().decode()

    with pytest.raises(UserError, match=r"^data\.path: .*file was written to while it was read; wait until"):
        remembered(path, "data.path", "a text", "words", find)
