"""The pages are what they say: short, generated where they say so, and their snippets work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pages import PAGES, ROOT, Found, blocks

import titans_lab.store.store
from titans_lab.plugins.example import write_example
from titans_lab.study.study import load_study
from titans_lab.tasks.registry import all_settings

IN_ONE = ("python.md", "huggingface.md")  # pages that run from their first line to their last, in tests of their own
PYTHON = [block for page in PAGES if page.name not in IN_ONE for block in blocks(page, "python")]
YAML = [block for page in PAGES for block in blocks(page, "yaml")]


def module(name: str) -> ModuleType:
    """Return a script of `docs/`, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_readme_fits_on_a_few_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", ["keys.md", "commands.md", "columns.md", "models.md"])
def test_generated_pages_are_up_to_date(name: str):
    page = module("generate").PAGES[name]
    assert (ROOT / "docs" / name).read_text() == page(), "run: python docs/generate.py"


def test_the_faq_quotes_what_is_printed(tmp_path: Path):
    page = (ROOT / "docs" / "faq.md").read_text()
    (tmp_path / "lab").mkdir()
    recorded = module("record").recorded(page, tmp_path / "lab")
    assert recorded == page, "run in an empty folder: python docs/record.py docs/faq.md FOLDER"


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_python_runs(block: Found, a_store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(a_store.parent)
    exec(compile(block.text, block.place, "exec"), {})


def test_the_page_on_python_runs_from_its_first_line_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(block.text, block.place, "exec"), names)
    assert dict(names["outcome"].states) == {"done": 4}
    assert str(names["logits"].shape[:2]) == "torch.Size([1, 9])"


@pytest.mark.parametrize("block", YAML, ids=lambda block: block.place)
def test_yaml_is_a_study(block: Found, tmp_path: Path):
    (tmp_path / "common.yaml").write_text("model: {n_layers: 3}\n")
    (tmp_path / "study.yaml").write_text(block.text)
    if "plugins:" in block.text:  # what one process loads stays loaded, so another one plans it
        write_example(str(tmp_path / "my_mixer"))
        plan = [sys.executable, "-m", "titans_lab", "plan", str(tmp_path / "study.yaml"), "--allow-plugins"]
        planned = subprocess.run(plan, capture_output=True, text=True, check=False)
        assert planned.returncode == 0, planned.stderr
        return
    study = load_study(tmp_path / "study.yaml")
    assert study.runs(lambda _: "0" * 64)
    assert not study.warnings


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == titans_lab.__version__
    assert citation["license"] == "MIT"


def test_the_layout_of_a_store_is_complete():
    page = (ROOT / "docs" / "records.md").read_text()
    folders = re.findall(r"^(\w+)/", titans_lab.store.store.__doc__ or "", re.MULTILINE)
    assert len(set(folders)) > 8
    assert [name for name in folders if f"{name}/" not in page] == []


def test_every_task_is_explained():
    page = (ROOT / "docs" / "tasks.md").read_text()
    assert [name for name in all_settings() if f"`{name}`" not in page] == []
