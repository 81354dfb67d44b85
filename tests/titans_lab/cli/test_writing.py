"""new and schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from titans_lab.study.study import load_study

Cli = Callable[..., Any]
QUESTION = "Does the short convolution help the memory, at the same number of parameters?"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_new_study_works_as_it_is(cli: Cli):
    assert cli("new", "mine") == (0, "mine.yaml\n", "next: titans-lab plan mine.yaml\n")
    study = load_study(Path("mine.yaml"))
    assert (study.question, study.warnings) == (QUESTION, ())
    ended = cli("plan", "mine.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert "params held" in ended.out
    assert "conv_size=1 seed=2" in ended.out
    assert "{file}" not in Path("mine.yaml").read_text()


def test_the_commented_lines_of_the_template_work_too(cli: Cli):
    cli("new", "mine")
    text = Path("mine.yaml").read_text()
    head, _, body = text.partition("question:")
    switched_on = body.replace("\n# grid:\n#   ", "\ngrid:\n  ")
    switched_on = switched_on.replace("\n  # a linear memory:", "\n  a linear memory:")
    for key in ("where", "exclude", "order", "budget"):
        switched_on = switched_on.replace(f"\n# {key}:", f"\n{key}:")
    Path("mine.yaml").write_text(f"{head}question:{switched_on}")
    study = load_study(Path("mine.yaml"))
    assert (study.order, study.budget.wall_time) == ("shuffled", 7200)
    assert len(study.points) == 8


@pytest.mark.parametrize("name", ["../.hidden", "a b", "mine.yaml", "folder/that/is/not/there"])
def test_a_name_that_cannot_be_is_refused_and_nothing_written(cli: Cli, name: str, tmp_path: Path):
    Path("mine.yaml").write_text("seeds: 1\n")
    code, out, err = cli("new", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"titans-lab: {name}")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert Path("mine.yaml").read_text() == "seeds: 1\n"


def test_the_schema_is_printed(cli: Cli):
    ended = cli("schema")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["title"] == "A study of titans-lab"
