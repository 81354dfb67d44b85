"""The folder for compiled code is the user's own."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from titans.ops.cache import cache_folder, private_folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_lies_below_the_user_s_cache_and_only_the_user_can_enter_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache_folder.cache_clear()
    folder = cache_folder("inductor")
    cache_folder.cache_clear()
    assert folder == tmp_path / "cache" / "titans" / "inductor"
    assert mode(folder) == mode(folder.parent) == 0o700


def test_a_folder_that_others_could_only_read_is_closed_to_them(tmp_path):
    (tmp_path / "own").mkdir(mode=0o755)
    assert mode(private_folder(tmp_path / "own")) == 0o700


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("link", "is not a folder"),
        ("file", "is not a folder"),
        ("writable", "others can write"),
        ("foreign", "belongs"),
    ],
)
def test_a_folder_that_somebody_else_may_have_filled_is_refused(tmp_path, monkeypatch, kind, message):
    path = tmp_path / "cache"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o777 if kind == "writable" else 0o700)
    if kind == "foreign":
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match=message):
        private_folder(path)


def test_without_such_a_folder_it_is_a_temporary_one_and_a_warning_says_why(tmp_path, monkeypatch):
    (tmp_path / "titans").mkdir()
    (tmp_path / "titans").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder.cache_clear()
    with pytest.warns(UserWarning, match=r"is not kept for the next process: others can write to .*titans"):
        folder = cache_folder("inductor")
    cache_folder.cache_clear()
    assert tmp_path not in folder.parents
    assert mode(folder) == 0o700


COMPILE = """
import torch
from titans.ops.neural_memory.kernels import KERNELS
KERNELS["compiled"].load()
torch.compile(lambda x: x.sin() + 1)(torch.ones(1000))
"""


def test_nothing_is_compiled_into_a_folder_that_somebody_prepared(tmp_path):
    trap = tmp_path / "tmp" / f"torchinductor_{getpass.getuser()}"
    trap.mkdir(parents=True)
    trap.chmod(0o777)
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True)
    assert not list(trap.iterdir())
    assert list((tmp_path / "cache" / "titans" / "inductor").rglob("*.so"))
