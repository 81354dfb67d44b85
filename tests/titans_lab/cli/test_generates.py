"""generate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A run that a sweep has finished."""
    bench = Workbench.at(tmp_path_factory.mktemp("trained"))
    assert bench.call("sweep").returncode == 0
    return bench


def test_a_run_continues_prompts_and_the_same_seed_writes_the_same(cli: Any, trained: Workbench):
    [run] = trained.runs()
    asked = ("generate", run.run_id[:7], "--prompt", "def ", "--prompt", "import", "--tokens", "8", "--samples", "2")
    ended = cli(*asked, "--json", "--store", trained.store.root)
    rows = json.loads(ended.out)
    assert [(row["prompt"], row["seed"]) for row in rows] == [("def ", 0), ("def ", 1), ("import", 0), ("import", 1)]
    assert len({row["text"] for row in rows}) > 1
    assert cli(*asked, "--json", "--store", trained.store.root).out == ended.out
    printed = cli(*asked, "--temperature", "0", "--store", trained.store.root).out
    assert printed.startswith("def ")
    assert "\n\nimport" in printed
    for control in ("\x1b", "\x07", "\x00"):
        assert control not in printed


def test_an_empty_prompt_and_an_unknown_run_are_refused(cli: Any, trained: Workbench, tmp_path: Path):
    [run] = trained.runs()
    ended = cli("generate", run.run_id, "--prompt", "", "--store", trained.store.root)
    assert (ended.code, ended.out) == (2, "")
    assert "prompt: is empty; give the text to continue" in ended.err
    assert cli("generate", "zz", "--prompt", "a", "--store", trained.store.root).code == 2
