from __future__ import annotations

import importlib.util
import platform
import socket
import subprocess
from pathlib import Path
from types import ModuleType

import numpy
import pytest

import titans_lab.environment
from titans_lab.environment import environment


def copy_of(module: ModuleType, root: Path) -> ModuleType:
    """The module as if the package were below `root`."""
    path = root / "titans_lab" / "environment.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(Path(str(module.__file__)).read_bytes())
    spec = importlib.util.spec_from_file_location("environment_elsewhere", path)
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    return copied


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository at `tmp_path` with one commit, without what the user has configured."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return git(tmp_path, "rev-parse", "HEAD")


def test_the_environment_says_where_and_with_what():
    found = environment()
    assert (found["host"], found["python"]) == (socket.gethostname(), platform.python_version())
    assert found["libraries"]["numpy"] == numpy.__version__
    assert {"torch", "pyarrow", "titans-lab"} <= found["libraries"].keys()
    assert "no-such-library" not in found["libraries"]


def test_a_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(titans_lab.environment, "LIBRARIES", ("numpy", "no-such-library"))
    assert list(environment()["libraries"]) == ["numpy"]


def test_the_code_is_named_by_its_commit_and_whether_it_differs_from_it(tmp_path: Path, commit: str):
    elsewhere = copy_of(titans_lab.environment, tmp_path)
    assert elsewhere.code_version() == f"{commit}+changes"  # a new file of the package
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "the package")
    (tmp_path / "notes.txt").write_text("not of the package")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert elsewhere.code_version() == head
    (tmp_path / "titans_lab" / "environment.py").write_text("changed")
    assert elsewhere.code_version() == f"{head}+changes"


def test_another_repository_around_the_code_does_not_count(tmp_path: Path, commit: str):
    elsewhere = copy_of(titans_lab.environment, tmp_path / "below")
    assert elsewhere.code_version().startswith("titans-lab ")


def test_without_git_the_code_is_named_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    elsewhere = copy_of(titans_lab.environment, tmp_path)
    assert elsewhere.code_version().startswith("titans-lab ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert elsewhere.code_version().startswith("titans-lab ")
