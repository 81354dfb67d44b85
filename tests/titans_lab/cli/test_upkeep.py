"""rm, export, import and compact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import without_links
from without_links import can_refuse
from workbench import Workbench

from titans_lab.store.claims import Holder
from titans_lab.store.recorder import Recorder


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Two studies over three runs, of which they share the second."""
    folders = bench.folders("seeds=3")
    bench.sweep("seeds=3")
    for folder in folders:
        Recorder(folder.new_attempt(), {"host": "laptop"}).commit("done", {"loss": 2.0})
    ids = [{"run_id": folder.run_id, "factors": {}} for folder in folders]
    bench.store.save_study({"name": "first", "runs": ids[:2]})
    bench.store.save_study({"name": "second", "runs": ids[1:]})
    return bench


def ids(bench: Workbench) -> set[str]:
    return {folder.run_id for folder in bench.store.folders()}


def test_a_study_goes_with_the_runs_that_are_its_own(cli: Any, filled: Workbench):
    own, shared, other = (folder.run_id for folder in filled.folders("seeds=3"))
    ended = cli("rm", "first", "--yes", "--store", filled.store.root)
    assert ended.code == 0
    assert "not moved: 1 run, of another study too or of one that is running" in ended.err
    assert ended.out.startswith(f"moved 1 run to {filled.store.root}/trash/")
    assert ids(filled) == {shared, other}
    assert [path.stem for path in filled.store.study_paths()] == ["second"]
    [moved] = filled.store.root.glob(f"trash/*/runs/{own}/run.json")
    assert moved.exists()
    assert cli("rm", shared, "--yes", "--store", filled.store.root).code == 0  # who names a run means it
    assert ids(filled) == {other}


def test_a_study_that_a_sweep_is_at_stays_as_a_whole(cli: Any, bench: Workbench):
    """Also its runs that have not begun: the sweep will begin them."""
    done, running, _ = folders = bench.folders("seeds=3")
    bench.sweep("seeds=3")
    bench.store.save_study({"name": "tiny", "runs": [{"run_id": each.run_id, "factors": {}} for each in folders]})
    Recorder(done.new_attempt(), {}).commit("done", {"loss": 2.0})
    running.new_attempt(Holder.of(os.getpid()))
    ended = cli("rm", "tiny", "--yes", "--store", bench.store.root)
    assert (ended.code, ended.out) == (0, "")
    assert "not moved: 3 runs, of another study too or of one that is running" in ended.err
    assert "nothing to remove" in ended.err
    assert ids(bench) == {each.run_id for each in folders}
    assert [path.stem for path in bench.store.study_paths()] == ["tiny"]


def test_rm_asks_and_needs_a_name(cli: Any, filled: Workbench, monkeypatch: pytest.MonkeyPatch):
    before = ids(filled)
    assert cli("rm", "--store", filled.store.root).code == 2
    assert "give --yes" in cli("rm", "--state", "done", "--store", filled.store.root).err
    assert ids(filled) == before
    assert "nothing to remove" in cli("rm", "--state", "oom", "--yes", "--store", filled.store.root).err


def test_json_tells_scripts_what_was_done(cli: Any, filled: Workbench, tmp_path: Path):
    own, shared, other = (folder.run_id for folder in filled.folders("seeds=3"))
    at = ("--json", "--store", filled.store.root)
    archive = tmp_path / "x.tar.gz"
    ended = cli("export", "first", "-o", archive, *at)
    [done] = json.loads(ended.out)
    assert (done["archive"], sorted(done["runs"]), done["left_out"]) == (str(archive), sorted([own, shared]), 0)
    assert done["files"] > 2
    filled.store.run(other).archive()
    with filled.store.run(other).new_attempt().claim.kept():
        [done] = json.loads(cli("export", "-o", archive, *at).out)
    assert (sorted(done["runs"]), done["left_out"]) == (sorted([own, shared]), 1)
    [done] = json.loads(cli("rm", "first", "--yes", *at).out)
    assert (done["runs"], done["studies"], done["kept"]) == ([own], ["first"], 1)
    assert (Path(done["trash"]) / "runs" / own).is_dir()
    [done] = json.loads(cli("rm", "--state", "oom", "--yes", *at).out)
    assert done == {"runs": [], "studies": [], "kept": 0, "trash": None}


def test_a_store_through_an_archive(cli: Any, filled: Workbench, tmp_path: Path):
    archive, there = tmp_path / "x.tar.gz", tmp_path / "there"
    assert cli("export", "first", "-o", archive, "--store", filled.store.root).out.startswith(f"{archive}: 2 runs, ")
    ended = cli("import", archive, "--store", there)
    assert ended == (0, "3 added, 0 there already, 0 in conflict\n", "")
    first, second, _ = filled.folders("seeds=3")
    first.archive()
    Recorder(first.new_attempt(), {}).commit("done", {"loss": 7.0})
    cli("export", first.run_id, "-o", archive, "--store", filled.store.root)
    ended = cli("import", archive, "--json", "--store", there)
    assert (ended.code, json.loads(ended.out)[0]["conflicts"]) == (3, [f"runs/{first.run_id}"])
    assert "it stays as it is" in ended.err
    archive.write_bytes(b"noise")
    ended = cli("import", archive, "--store", there)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert second.path.exists()


def test_a_store_is_compacted_and_back(cli: Any, filled: Workbench):
    ended = cli("compact", "--json", "--store", filled.store.root)
    assert (ended.code, json.loads(ended.out)[0]["runs"]) == (0, 3)
    rows = cli("query", "select run_id, loss from runs order by 1", "--csv", "--store", filled.store.root).out
    assert cli("status", "--json", "--store", filled.store.root).code == 0
    assert cli("compact", "--remove", "--store", filled.store.root) == (0, "", "")
    assert cli("query", "select run_id, loss from runs order by 1", "--csv", "--store", filled.store.root).out == rows
    assert not (filled.store.root / "compact").exists()


def test_the_doctor_finds_and_quarantines(cli: Any, filled: Workbench):
    assert "nothing is damaged" in cli("doctor", "--store", filled.store.root).out
    [folder, *_] = filled.folders("seeds=3")
    folder.metrics_path.write_bytes(b"cut")
    ended = cli("doctor", "--store", filled.store.root)
    assert (ended.code, str(folder.metrics_path) in ended.out) == (3, True)
    assert folder.metrics_path.exists()
    said = json.loads(cli("doctor", "--fix", "--json", "--store", filled.store.root).out)
    assert [each["path"] for each in said["store"]] == [str(folder.metrics_path)]
    assert (Path(said["quarantine"]) / folder.metrics_path.relative_to(filled.store.root)).read_bytes() == b"cut"
    assert {"torch", "free disk"} <= {fact["name"] for fact in said["machine"]}


@pytest.mark.skipif(not can_refuse(), reason="the helper knows Linux on x86-64 alone")
def test_an_import_names_missing_hard_links_before_anything_lands(cli: Any, filled: Workbench, tmp_path: Path):
    archive, other = tmp_path / "a.tar.gz", tmp_path / "other"
    assert cli("export", "-o", archive, "--store", filled.store.root).code == 0
    command = [sys.executable, str(Path(without_links.__file__)), "import", str(archive), "--store", str(other)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"titans-lab: {other}: its file system has no hard links (Operation not permitted)" in ended.stderr
    assert list(other.iterdir()) == []
    assert cli("import", archive, "--store", other).out.startswith("5 added, 0 there already")
    assert cli("import", archive, "--store", other).out.startswith("0 added, 5 there already")
