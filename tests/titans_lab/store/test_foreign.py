"""Records that are whole and that somebody else wrote: a name in them leads nowhere but to their own place."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from titans_lab.errors import UserError
from titans_lab.store.archive import CONTENTS, bring
from titans_lab.store.arrow import parquet
from titans_lab.store.check import faults, quarantine
from titans_lab.store.compacted import manifest_path
from titans_lab.store.compaction import compact
from titans_lab.store.files import json_bytes, read_json, write_json
from titans_lab.store.folder import RunFolder
from titans_lab.store.logs import digest_of
from titans_lab.store.query import ask, query
from titans_lab.store.store import Store

ELSEWHERE = [
    "../../../../victim/dir",
    "../../../victim",
    "attempts/../../../../victim/dir",
    "attempts/1/../../../../../victim/metrics.parquet",
    "attempts/1/./metrics.parquet",
    "attempts//1/metrics.parquet",
    "attempts/1/metrics.parquet\n",
    "attempts/1/metrics.parquet\x00",
    "attempts/2/metrics.parquet",  # another attempt than the one that it commits
    "attempts/1/run.json",
    "attempts/1",
    "run.json",
    "",
    ".",
    "/",
]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the store, which nothing may touch."""
    folder = tmp_path / "victim"
    (folder / "dir").mkdir(parents=True)
    (folder / "dir" / "file.txt").write_text("mine")
    (folder / "REPORT.html").write_text("mine")
    return folder


@pytest.fixture
def commit_files(ended_run: Callable[..., RunFolder]) -> Callable[[str, Any], RunFolder]:
    """Makes the run a1, whose sealed commit vouches for a file of this name and content."""

    def make(name: str, digest: Any = None) -> RunFolder:
        folder = ended_run("a1")
        record = read_json(folder.status_path)
        write_json(folder.status_path, record | {"files": {name: digest or digest_of(b"")}})
        return folder

    return make


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def archive_of(path: Path, files: dict[str, bytes]) -> Path:
    """An archive with these files, well described."""
    described = {name: digest_of(content) for name, content in files.items()}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {CONTENTS: json_bytes({"form": 1, "files": described}), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_commit_that_names_a_file_elsewhere_is_no_commit(
    store: Store, commit_files: Any, victim: Path, name: str
) -> None:
    before, folder = contents(victim), commit_files(name)
    assert folder.state() == "lost"
    assert folder.status_path in [fault.damage.path for fault in faults(store)]
    quarantine(store, faults(store))
    assert contents(victim) == before
    assert (victim / "dir").is_dir()


def test_a_parquet_file_elsewhere_is_not_read_as_metrics(store: Store, commit_files: Any, victim: Path) -> None:
    rows = query_rows(store, commit_files, victim / "metrics.parquet", "../../../victim/metrics.parquet")
    assert rows == []


def query_rows(store: Store, commit_files: Any, path: Path, name: str) -> list[Any]:
    """The metrics of a run whose commit vouches for a real file of metrics at `path` by a `name`."""
    import pyarrow as pa

    content = parquet(pa.table({"step": [77], "loss": [0.5]}))
    path.write_bytes(content)
    folder = commit_files(name, digest_of(content))
    answer = ask(store.root, "select step from metrics where run_id = 'a1' and step = 77")
    assert folder.status_path in [damage.path for damage in answer.damage]
    return answer.table.to_pylist()


@pytest.mark.parametrize("linked", ["metrics.parquet", ""])
def test_a_link_that_leads_out_of_a_run_is_not_followed(
    store: Store, ended_run: Callable[..., RunFolder], victim: Path, linked: str
) -> None:
    """The file itself, or the folder of its attempt."""
    folder = ended_run("a1")
    place = folder.path / "attempts" / "1" / linked
    place.rename(moved := victim / "moved")
    place.symlink_to(moved)
    before = contents(victim)
    answer = ask(store.root, "select step from metrics where run_id = 'a1'")
    assert answer.table.to_pylist() == []
    [damage] = answer.damage
    assert "leads out of" in damage.reason
    assert any("leads out of" in fault.damage.reason for fault in faults(store))
    quarantine(store, faults(store))
    assert contents(victim) == before


def test_a_run_that_is_a_link_out_of_the_store_is_no_run(
    store: Store, ended_run: Callable[..., RunFolder], victim: Path
) -> None:
    folder = ended_run("a1")
    folder.path.rename(victim / "a1")
    folder.path.symlink_to(victim / "a1")
    before = contents(victim)
    assert store.run_ids() == []
    with pytest.raises(UserError, match="leads out of"):
        store.run("a1")
    assert {fault.damage.path: "leads out of" in fault.damage.reason for fault in faults(store)} == {folder.path: True}
    quarantine(store, faults(store))
    assert contents(victim) == before


@pytest.mark.parametrize("move", ["trash", "quarantine"])
def test_nothing_outside_of_the_store_is_moved(store: Store, victim: Path, move: str) -> None:
    """Neither is anything moved out of it."""
    (store.root / "runs").symlink_to(victim)
    before = contents(victim)
    with pytest.raises(UserError, match="leads out of"):
        store.set_aside([store.root / "runs" / "dir"], "trash")
    (store.root / "studies").mkdir()
    (store.root / "studies" / "x.json").write_text("{")
    (store.root / move).symlink_to(victim)
    with pytest.raises(UserError, match="leads out of"):
        store.set_aside([store.root / "studies" / "x.json"], move)
    assert contents(victim) == before


@pytest.mark.parametrize("name", ["../../../victim/REPORT", "/{victim}/REPORT", "other", "", 7, None])
def test_a_study_has_the_name_of_its_file(store: Store, victim: Path, name: Any) -> None:
    name = name.format(victim=victim) if isinstance(name, str) else name
    store.save_study({"name": "depth", "runs": []})
    path = store.study_paths()[0]
    write_json(path, {"name": name, "runs": [{"run_id": "a1", "factors": {}}]})
    answer = ask(store.root, "from studies")
    assert answer.table.to_pylist() == []
    assert [damage.path for damage in answer.damage] == [path]
    assert path in [fault.damage.path for fault in faults(store)]


@pytest.mark.parametrize("name", ["../../../victim/REPORT", "/tmp/REPORT", "a/b", "", "..", "a\x00"])
def test_a_report_lies_in_the_store(store: Store, name: str) -> None:
    with pytest.raises(UserError):
        store.report_path(name, ".html")
    assert store.report_path("all studies", ".html") == store.root / "reports" / "all-studies.html"


def test_a_report_is_not_written_through_a_link(store: Store, victim: Path) -> None:
    (store.root / "reports").symlink_to(victim)
    with pytest.raises(UserError, match="leads out of"):
        store.report_path("REPORT", ".html")


def test_a_compaction_names_its_own_files_and_runs(
    store: Store, ended_run: Callable[..., RunFolder], victim: Path
) -> None:
    ended_run("a1")
    compact(store)
    manifest = read_json(manifest_path(store.root))
    for change in (
        {"files": manifest["files"] | {"runs": manifest["files"]["runs"] | {"name": "../../victim/dir"}}},
        {"files": manifest["files"] | {"runs": manifest["files"]["runs"] | {"name": "/etc/passwd"}}},
        {"runs": {"../../victim/dir": next(iter(manifest["runs"].values()))}},
    ):
        write_json(manifest_path(store.root), manifest | change)
        assert manifest_path(store.root) in [fault.damage.path for fault in faults(store)]
        assert query(store.root, "select run_id from runs").to_pylist() == [{"run_id": "a1"}]
        quarantine(store, faults(store))
        assert (victim / "dir" / "file.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "runs/a1/attempts/1/claim", "runs/a1/attempts/1/stop.json", "runs/a1/attempts/01/env.json",
        "runs/a1/attempts/x/env.json", "runs/a1/evals/e1.txt", "runs/a1/x/y/z.json", "runs/a1/notes.txt",
        "runs/a1/attempts/1/checkpoint-1.pt", "studies/depth.yaml", "studies/depth/x.json", "verified/v1.json",
        "searches/s1/coordinators/1/claim", "searches/s1/trials/x.json", "reports/x.html", "compact/manifest.json",
    ],
)  # fmt: skip
def test_an_archive_holds_records_alone(store: Store, tmp_path: Path, name: str) -> None:
    archive = archive_of(
        tmp_path / "x.tar.gz", {"studies/depth.json": json_bytes({"name": "depth", "runs": []}), name: b"{}"}
    )
    with pytest.raises(UserError, match="is not a path of a store"):
        bring(store, archive)
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("name", ELSEWHERE[:4])
def test_an_archive_with_a_commit_that_leads_elsewhere_is_refused(
    store: Store, commit_files: Any, victim: Path, tmp_path: Path, name: str
) -> None:
    folder, before, other = commit_files(name), contents(victim), Store(tmp_path / "other")
    files = {
        "runs/a1/run.json": folder.record_path.read_bytes(),
        "runs/a1/status.json": folder.status_path.read_bytes(),
    }
    found = bring(other, archive_of(tmp_path / "x.tar.gz", files))
    assert found.added == []
    assert "runs/a1" in found.refused[0]
    assert other.run_ids() == []
    quarantine(other, faults(other))
    assert contents(victim) == before
