from __future__ import annotations

import sys
from pathlib import Path

import pytest
import without_links
from without_links import can_refuse
from workbench import Workbench, run

import titans_lab.doctor as doctor
from titans_lab.doctor import machine


def test_this_machine_is_as_it_says(tmp_path: Path):
    import torch

    facts = {fact.name: fact for fact in machine(tmp_path)}
    assert facts["torch"].value == torch.__version__
    assert {"free disk", "free memory", "cores", "GPUs", "duckdb", "triton (optional)"} <= set(facts)
    assert (facts["rename"].value, facts["hard links"].value) == ("yes", "yes")
    assert [fact for fact in facts.values() if fact.wrong and fact.name not in ("free memory", "free disk")] == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "ASK_TORCH", "raise ImportError('no such library')")
    monkeypatch.setattr(doctor, "PARTS", ("no-such-part",))
    monkeypatch.setattr(doctor, "LEAST_BYTES", 2**80)

    def no_links(root: Path) -> bool:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(doctor, "links", no_links)
    wrong = {fact.name: fact.wrong for fact in machine(tmp_path) if fact.wrong}
    assert set(wrong) == {"torch", "no-such-part", "free disk", "free memory", "hard links"}
    assert "ImportError: no such library" in str(wrong["torch"])
    assert wrong["hard links"] == (
        "Operation not permitted: claims and commits need it; keep the store on a local disk or NFS"
    )


def test_a_file_system_on_which_two_links_of_one_name_both_win_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, "link_new", lambda source, path: bool(source.replace(path)) or True)
    [links] = [fact for fact in machine(tmp_path) if fact.name == "hard links"]
    assert links.value == "no"
    assert "cannot do it: claims and commits need it; keep the store" in str(links.wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there_is_no_fault(tmp_path: Path):
    assert [fact.wrong for fact in machine(tmp_path / "none") if fact.name == "store"] == [None]


@pytest.mark.skipif(not can_refuse(), reason="the helper knows Linux on x86-64 alone")
def test_a_file_system_without_hard_links_is_named(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    without = [sys.executable, str(Path(without_links.__file__))]
    swept = run([*without, "sweep", str(bench.study), "--no-verify", "--store", str(bench.store.root)])
    assert (swept.returncode, swept.stdout) == (2, "")
    told = "its file system has no hard links (Operation not permitted), by which runs are claimed and committed; name"
    assert told in swept.stderr.splitlines()[-1]
    assert not any(folder.attempts() and folder.latest().claim.taken() for folder in bench.store.folders())
    looked = run([*without, "doctor", "--store", str(bench.store.root)])
    assert looked.returncode == 3
    assert told in looked.stdout
    assert bench.call("sweep").returncode == 0  # where there are links, the same store is good
