"""The findings in `results/`: every page and table is what its archive gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from titans_lab.publication import Finding
from titans_lab.report.render import LIBRARIES, versions

RESULTS = Path(__file__).parents[1] / "results"
FINDINGS = sorted(path.parent for path in RESULTS.glob("*/study.yaml"))
MOST_BYTES = 15_000_000


@pytest.mark.parametrize("folder", FINDINGS, ids=lambda path: path.name)
def test_a_finding_is_what_its_archive_gives(folder: Path):
    found = re.search(
        r'<script id="origin" type="application/json">(.*?)</script>', (folder / "report.html").read_text()
    )
    assert found
    drawn_with, here = json.loads(found[1])["versions"], versions()
    if other := [name for name in LIBRARIES if drawn_with[name] != here[name]]:
        pytest.skip(f"the page was drawn by another version of {', '.join(other)}")
    assert Finding(folder).differences() == []


@pytest.mark.parametrize("folder", FINDINGS, ids=lambda path: path.name)
def test_a_finding_has_a_page_that_names_its_command_and_its_verdict(folder: Path):
    page = (folder / "README.md").read_text()
    assert re.search(rf"titans-lab (tune|sweep) results/{folder.name}/study.yaml", page)
    verdict = re.search(r"^\*\*(.*)\*\*$", (folder / "report.md").read_text(), re.MULTILINE)
    assert verdict
    assert verdict[1] in page
    assert f"({folder.name}/README.md)" in (RESULTS / "README.md").read_text()


def test_all_findings_together_are_small():
    assert sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) < MOST_BYTES
