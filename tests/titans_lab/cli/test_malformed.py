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
#: Files that cannot begin with a comment.
HEADLESS = {
    "nothing": "# 1:  : the file is empty",
    "binary": "# 1:  : save the file as UTF-8",
    "utf16": "# 1:  : save the file as UTF-8",
    "latin1": "# 1:  : save the file as UTF-8",
}


def test_there_are_enough_of_them():
    assert len(FILES) >= 130


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_ends_with_2_and_its_place_key_and_remedy(
    cli: Callable[..., Any], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(FOLDER)
    head = HEAD.match(HEADLESS[path.stem] if path.stem in HEADLESS else path.read_text())
    assert head
    code, out, err = cli("plan", path.name, "--store", tmp_path / "store")
    assert (code, out) == (2, "")
    first, *more = err.splitlines()
    assert len(more) < 4
    assert len(err) < 1500
    assert all(line.isprintable() for line in [first, *more])
    assert first.startswith(f"titans-lab: {head['file'] or path.name}:{head['line']}: {head['key']}")
    assert head["remedy"] in err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()
