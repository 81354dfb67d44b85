from __future__ import annotations

import re
import tomllib
from pathlib import Path

import titans_lab
from titans_lab.errors import install

PACKAGE = Path(str(titans_lab.__file__)).parent
EXTRAS = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_package_is_installed_as_the_docs_say():
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    extras = {name for text in sources.values() for name in re.findall(r"install\(['\"](\w+)['\"]\)", text)}
    assert {"text", "eval"} <= extras <= EXTRAS.keys()
    command = install("text").partition(" in ")[0]
    assert f"`{command}`" in (PACKAGE.parent / "docs" / "faq.md").read_text()
    assert [path for path, text in sources.items() if re.search(r"pip install '?titans-lab\b", text)] == []
