"""Study files with mistakes, as a user meets them: the first line of each says what has to be told, and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "study" / "malformed"
FILES = sorted(FOLDER.glob("*.yaml"))
HEAD = re.compile(r"# (?:(?P<file>\S+\.yaml):)?(?P<line>\d+): (?P<key>.*?) ?: (?P<remedy>.*)")


def test_there_are_enough_of_them():
    assert len(FILES) >= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_ends_with_2_and_its_place_key_and_remedy(
    cli: Callable[..., Any], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(FOLDER)
    head = HEAD.match(path.read_text()) or re.match(HEAD, "# 1:  : the file is empty")
    assert head
    code, out, err = cli("plan", path.name, "--store", tmp_path / "store")
    assert (code, out) == (2, "")
    first, *more = err.splitlines()
    assert len(more) < 4
    assert first.startswith(f"titans-lab: {head['file'] or path.name}:{head['line']}: {head['key']}")
    assert head["remedy"] in err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()
