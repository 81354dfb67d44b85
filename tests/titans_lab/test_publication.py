"""Findings: an archive, and the pages that follow from it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from instant import InstantExecutor, InstantJob
from searches import HEAD, bowl

from titans_lab.cli.app import app
from titans_lab.errors import UserError
from titans_lab.executors.devices import Device, cores
from titans_lab.publication import Finding
from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator, tunings
from titans_lab.store import archive
from titans_lab.store.check import faults
from titans_lab.store.folder import RunFolder
from titans_lab.store.records import read_ngram_baselines, read_study
from titans_lab.store.store import Store
from titans_lab.store.weights import read_weights
from titans_lab.study.study import load_study

STUDY = f"""{HEAD}  data: {{path: /a/folder/of/mine/text.txt}}
question: Does depth help?
grid: {{model.memory.depth: [1, 2]}}
baseline: {{model.memory.depth: 1}}
search:
  space: {{train.lr: {{choice: [1e-3, 4e-3]}}}}
  sampler: grid
  trials: 2
  proxy: {{train.tokens: 40_000}}
  finalists: {{count: 1, seeds: 3, base: false}}
"""


class WithWeights(InstantExecutor):
    """Runs that leave weights."""

    def submit(self, folder: RunFolder, device: Device) -> InstantJob:
        job = super().submit(folder, device)
        job.attempt.weights_path.write_bytes(b"weights")
        return job


def noisy(config: RunConfig, seed: int) -> list[float | str]:
    return [bowl(config) + 0.01 * math.sin(seed * config.model.memory.depth)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a finished search, whose runs have weights."""
    for name in ("POLL_SECONDS", "SHORT_SECONDS"):
        monkeypatch.setattr(f"titans_lab.sweep.{name}", 0.0)
    finding, store = Finding(tmp_path / "findings" / "depth"), Store(tmp_path / "results")
    finding.path.mkdir(parents=True)
    (finding.path / "study.yaml").write_text(STUDY)
    study = load_study(finding.path / "study.yaml")
    Coordinator(study, tunings(study, store, lambda _: "0" * 64), store, WithWeights(noisy), cores()[:1]).run(
        lambda *_: None
    )
    return store


@pytest.fixture
def finding(store: Store, tmp_path: Path) -> Finding:
    """A finding that is published."""
    found = Finding(tmp_path / "findings" / "depth")
    assert found.collect(store) == 4 + 6  # of the trials and of the tuned arms
    found.draw()
    return found


def test_a_finding_is_checked_from_its_folder_alone(finding: Finding, store: Store):
    store.root.rename(store.root.with_name("gone"))
    assert finding.differences() == []
    text = (finding.path / "report.md").read_text()
    assert "depth 2 is better than the baseline" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert (finding.path / "tables" / "runs.csv").read_text().count("\n") == 7


def test_the_pages_share_their_script(finding: Finding):
    page, script = finding.path / "report.html", finding.path.parent / "plotly-cartesian.min.js"
    assert '<script id="plotly" src="../plotly-cartesian.min.js"></script>' in page.read_text()
    assert page.stat().st_size < script.stat().st_size
    assert script.read_text() not in page.read_text()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("report.html", "better than", "worse than"),
        ("report.md", "better than", "worse than"),
        ("tables/runs.csv", "done", "lost"),
        ("../plotly-cartesian.min.js", "function", "Function"),
    ],
)
def test_a_changed_file_is_named(finding: Finding, name: str, before: str, after: str):
    path = finding.path / name
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    [line] = finding.differences()
    assert line.startswith(f"{path}: ")


def test_a_table_that_is_gone_is_named_and_one_that_is_of_no_report_is_removed(finding: Finding):
    (finding.path / "tables" / "runs.csv").unlink()
    assert finding.differences() == [f"{finding.path / 'tables' / 'runs.csv'}: missing"]
    (finding.path / "tables" / "old.csv").write_text("a\n1\n")
    finding.draw()
    assert not (finding.path / "tables" / "old.csv").exists()
    assert finding.differences() == []


def test_a_run_that_the_archive_lacks_is_not_on_the_page(finding: Finding, store: Store):
    [dropped, *others] = [row["run_id"] for row in read_study(store.root / "studies" / "s.tuned.json")["runs"]]
    archive.export(store, others, None, finding.path / "runs.tar.gz", weights=False)
    [line] = finding.differences()
    assert line.startswith(f"{finding.path / 'report.html'}: run {dropped}: not among the runs")


def test_an_archive_without_weights_is_sound(finding: Finding, tmp_path: Path):
    other = Store(tmp_path / "other")
    found = archive.bring(other, finding.path / "runs.tar.gz")
    assert (found.refused, found.conflicts) == ([], [])
    assert not list(other.root.rglob("*.pt"))
    assert faults(other) == []
    run_id = next(iter(other.folders())).run_id
    with pytest.raises(UserError, match="its weights are not in this store"):
        read_weights(other.run(run_id))


def test_an_archive_does_not_say_where_the_data_were(finding: Finding, store: Store, tmp_path: Path):
    split = {"data_hash": "0" * 64, "valid_fraction": 0.05, "valid_bytes": None, "split": "test"}
    source = {"data_source": "/a/folder/of/mine/text.txt", "bits_per_byte": {"0": 4.5}}
    store.save_ngram_baseline("some", split | source)
    finding.collect(store)
    other = Store(tmp_path / "other")
    archive.bring(other, finding.path / "runs.tar.gz")
    [baseline] = other.ngram_baseline_paths()
    assert read_ngram_baselines(baseline)["data_source"] == "text.txt"
    assert {read_study(path)["path"] for path in other.study_paths()} == {"study.yaml"}
    [before, after] = [{run.run_id: run.record() for run in each.folders()} for each in (store, other)]
    for run_id, record in before.items():
        assert record["config"]["data"]["path"] == "/a/folder/of/mine/text.txt"
        record["config"]["data"]["path"] = record["data_source"] = "text.txt"
        assert after[run_id] | {"sha256": ""} == record | {"sha256": ""}


def test_a_folder_without_a_study_and_a_store_without_results_are_named(finding: Finding, tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere: has no study\.yaml"):
        Finding(tmp_path / "nowhere").study()
    empty = Store(tmp_path / "empty")
    empty.root.mkdir()
    with pytest.raises(UserError, match="has no result of it; sweep or tune it first"):
        finding.collect(empty)


def test_the_verb_publishes_and_checks(finding: Finding, store: Store, capsys: pytest.CaptureFixture[str]):
    folder = str(finding.path)
    app(["publish", folder, "--store", str(store.root)], standalone_mode=False)
    app(["publish", folder, "--redraw"], standalone_mode=False)
    app(["publish", folder, "--check"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{folder}: 10 runs, ")
    assert lines[1].startswith(f"{folder}: ")
    assert lines[2:] == [f"{folder}: report and tables are what the archive gives, byte for byte"]
    (finding.path / "report.md").write_text("another")
    with pytest.raises(SystemExit) as ended:
        app(["publish", folder, "--check"])
    assert ended.value.code == 3


def test_a_store_with_a_damaged_record_is_not_published(finding: Finding, store: Store):
    before = (finding.path / "runs.tar.gz").read_bytes()
    [first, *_] = read_study(store.root / "studies" / "s.tuned.json")["runs"]
    path = store.run(first["run_id"]).record_path
    path.write_text(path.read_text().replace("100000", "100001"))
    with pytest.raises(
        UserError, match=f"runs/{first['run_id']}/run.json: .*; mend the store first: titans-lab doctor"
    ):
        finding.collect(store)
    assert (finding.path / "runs.tar.gz").read_bytes() == before
