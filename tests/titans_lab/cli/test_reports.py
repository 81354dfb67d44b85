"""report."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from pasts import finish
from workbench import Workbench

from titans_lab.selection import named_runs
from titans_lab.study.study import load_study
from titans_lab.sweep import record_study


def variant(swept: Any) -> str:
    return load_study(swept.bench.study, swept.overrides).variant


def test_each_variant_of_a_study_has_its_own_record_and_report(cli: Any, bench: Workbench):
    root = bench.store.root
    for overrides in ((), ("train.lr=0.01",)):
        finish(bench.runs(*overrides), bench.store, loss=2.0, tokens=256)
        study = load_study(bench.study, overrides)
        record_study(study.record(bench.runs(*overrides)), bench.store)
        path = root / "reports" / f"tiny{'--train.lr-0.01' if overrides else ''}.html"
        assert cli("report", bench.study, *overrides, "--store", root).out == f"{path}\n"
    rows = bench.ask("select study, family, overrides from studies order by study")
    assert [tuple(row.values()) for row in rows] == [
        ("tiny", "tiny", "[]"),
        ("tiny--train.lr-0.01", "tiny", '["train.lr=0.01"]'),
    ]
    before = {path: path.read_bytes() for path in (root / "reports").iterdir()}
    code, out, err = cli("report", bench.study, "train.lr=0.02", "--store", root)
    assert (code, out) == (2, "")
    assert err == (
        f"titans-lab: tiny--train.lr-0.02: no run of this study is in the store at {root}; sweep it first; "
        "the store has tiny, tiny--train.lr-0.01: give report the overrides of that sweep\n"
    )
    assert {path: path.read_bytes() for path in (root / "reports").iterdir()} == before


def test_a_study_file_names_all_of_its_variants(bench: Workbench):
    names = {}
    for overrides in ((), ("seeds=2",)):
        study = load_study(bench.study, overrides)
        record_study(study.record(bench.runs(*overrides)), bench.store)
        names[study.variant] = [run.run_id for run in bench.runs(*overrides)]
    assert list(names) == ["tiny", "tiny--seeds-2"]
    assert named_runs(bench.store, str(bench.study)) == names["tiny--seeds-2"]
    assert named_runs(bench.store, "tiny") == names["tiny"]


def test_the_report_of_a_sweep_is_one_page_with_what_failed(cli: Any, swept: Any):
    ended = cli("report", swept.bench.study, *swept.overrides, "--store", swept.bench.store.root)
    path = swept.bench.store.root / "reports" / f"{variant(swept)}.html"
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


def test_a_report_is_held_against_its_store(cli: Any, swept: Any, tmp_path: Path):
    store, path = ("--store", swept.bench.store.root), tmp_path / "page.html"
    assert cli("report", swept.bench.study, *swept.overrides, "-o", path, *store).code == 0
    code, out, err = cli("report", "--check", path, *store)
    assert (code, out) == (0, "")
    assert f"{path}: the page that the store at {swept.bench.store.root} gives, byte for byte" in err
    path.write_text(path.read_text().replace("Does it run?", "It does.", 1))
    code, out, err = cli("report", "--check", path, *store)
    assert code == 3
    assert out.startswith("header: the page has ")
    assert "NOT the page that the store" in err
    assert cli("report", swept.bench.study, *swept.overrides, "--check", path, *store).code == 3


def test_a_whole_store_and_every_format(cli: Any, swept: Any, tmp_path: Path):
    root = swept.bench.store.root
    name = variant(swept)
    assert cli("report", root).out == f"{root}/reports/{name}.html\n"
    for form, file in (("md", ".md"), ("json", ".json"), ("csv", "-csv/runs.csv"), ("tex", "-tex/runs.tex")):
        assert cli("report", root, "--format", form).code == 0
        assert swept.bench.runs(*swept.overrides)[0].run_id in (root / "reports" / f"{name}{file}").read_text()
    assert cli("report", root, "train.tokens=5").code == 2


def test_runs_side_by_side(cli: Any, swept: Any, tmp_path: Path):
    one, other = swept.bench.runs(*swept.overrides)[:2]
    store, path = ("--store", swept.bench.store.root), tmp_path / "page.html"
    code, out, _ = cli("compare", one.run_id[:10], other.run_id, "-o", path, *store)
    assert code == 0
    assert out.startswith("No run reached a final loss.\n\n")
    assert one.run_id in out.splitlines()[2]
    records = json.loads(cli("compare", one.run_id, other.run_id, "--json", *store).out)
    assert [record["run_id"] for record in records] == [one.run_id, other.run_id]
    assert {(record["metric"], record["unit"]) for record in records} == {("loss", "bits per byte")}
    assert "peak_memory_bytes" in cli("compare", one.run_id, other.run_id, "--csv", *store).out.splitlines()[0]
    assert "<h1>comparison of runs</h1>" in path.read_text()
    code, _, err = cli("compare", one.run_id, one.run_id, *store)
    assert code == 2
    assert "name two or more" in err
