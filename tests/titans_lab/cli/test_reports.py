"""report."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench


def test_the_report_of_a_sweep_is_one_page_with_what_failed(cli: Any, swept: Any):
    ended = cli("report", swept.bench.study, *swept.overrides, "--store", swept.bench.store.root)
    path = swept.bench.store.root / "reports" / "tiny.html"
    assert (ended.code, ended.out, ended.err) == (0, f"{path}\n", "")
    page = path.read_text()
    assert "Does it run?" in page
    assert all(run.run_id in page for run in swept.bench.runs(*swept.overrides))
    assert "allocate memory" in page


def test_the_page_goes_where_it_is_wanted_and_is_opened_on_demand(
    cli: Any, swept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    path = tmp_path / "deep" / "page.html"
    store = ("--store", swept.bench.store.root)
    assert cli("report", swept.bench.study, *swept.overrides, "-o", path, *store).code == 0
    assert path.stat().st_size > 10_000
    assert opened == []
    assert cli("report", swept.bench.study, *swept.overrides, "-o", path, "--open", *store).code == 0
    assert opened == [path.as_uri()]


def test_a_store_without_the_study_is_reported_as_empty_or_refused(cli: Any, bench: Workbench):
    code, out, err = cli("report", bench.study, "--store", bench.store.root)
    assert (code, out) == (2, "")
    assert str(bench.store.root) in err
    assert not bench.store.root.exists()
