"""What the docs and the docstrings name exists: links, paths, dotted names and configuration keys."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, SPAN, Found, everything, place

from titans_lab.run.config import leaves
from titans_lab.study.grammar import language

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w./<-])(?:titans|titans_lab|studies|tests|benchmarks|docs)/[\w./-]*\w")
NAME = re.compile(r"(?<![\w./-])titans(?:_lab)?(?:\.[A-Za-z_]\w*)+")
KEY = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
FILE = re.compile(r"\.(py|md|yaml|jsonl?|txt|csv|sql|gz|bin|html|db|toml|tex|png|fa)$")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    text = page.read_text()
    broken = [
        Found(place(page, text, match.start()), match[1])
        for match in LINK.finditer(text)
        if "://" not in match[1] and not _leads(page, match[1])
    ]
    assert not broken, "\n".join(map(str, broken))


def _leads(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f"]({page.name})" not in index]
    assert missing == ["index.md"]


def test_paths_exist():
    missing = [
        Found(found.place, path)
        for found in everything()
        for path in PATH.findall(found.text)
        if not (ROOT / path).exists()
    ]
    assert not missing, "\n".join(map(str, missing))


def test_dotted_names_exist():
    missing = [
        Found(found.place, name) for found in everything() for name in NAME.findall(found.text) if not _exists(name)
    ]
    assert not missing, "\n".join(map(str, missing))


def _exists(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        file = ROOT.joinpath(*parts[:end])
        if file.is_dir() or file.with_suffix(".py").exists():
            return end == len(parts) or _inside(".".join(parts[:end]), parts[end:])
    return False


def _inside(module: str, attributes: list[str]) -> bool:
    held = importlib.import_module(module)
    for attribute in attributes:
        if not hasattr(held, attribute):
            return False
        held = getattr(held, attribute)
    return True


def test_configuration_keys_exist():
    missing = [
        Found(found.place, key)
        for found in everything()
        for key in _keys(found.text)
        if key not in (*leaves(), *language().sections)
    ]
    assert not missing, "\n".join(map(str, missing))


def _keys(text: str) -> list[str]:
    """Return the dotted keys in backticks that begin with a section of a run's configuration."""
    spans = [span.partition("=")[0].strip() for span in SPAN.findall(text)]
    return [
        span
        for span in spans
        if KEY.fullmatch(span)
        and span.partition(".")[0] in ("model", "data", "task", "train", "init", "log", "speed")
        and not FILE.search(span)
    ]
