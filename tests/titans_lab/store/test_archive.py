"""A store goes through an archive whole; what an archive may not do to a store."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from titans_lab.errors import UserError
from titans_lab.search.trial import Trial
from titans_lab.store.archive import CONTENTS, bring, export
from titans_lab.store.files import json_bytes, write_json
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import digest_of
from titans_lab.store.query import ask
from titans_lab.store.recorder import Recorder
from titans_lab.store.searches import SearchFolder
from titans_lab.store.store import Store

VIEWS = (
    "runs",
    "metrics",
    "memory",
    "evals",
    "failures",
    "studies",
    "ngram_baselines",
    "benches",
    "trials",
    "finalists",
)


@pytest.fixture
def filled(store: Store, live_run: Callable[..., Attempt], ended_run: Callable[..., RunFolder]) -> Store:
    ended_run("a1", memory=2).save_evaluation("e1", {"rows": [{"task": "needle", "value": 0.5}]})
    ended_run("a2", state="failed", error="boom")
    live_run("a3")
    store.save_study({"name": "depth", "runs": [{"run_id": "a1", "factors": {}}]})
    store.save_ngram_baseline("d1", {"data_hash": "d1", "bits_per_byte": {"0": 4.5}})
    return store


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def rows(store: Store) -> dict[str, list[str]]:
    answers = {view: ask(store.root, f"from {view}") for view in VIEWS}
    assert all(answer.damage == () for answer in answers.values())
    return {view: sorted(map(repr, answer.table.to_pylist())) for view, answer in answers.items()}


def exported(store: Store, path: Path) -> Path:
    export(store, [folder.run_id for folder in store.folders()], None, path)
    return path


def test_a_store_is_the_same_on_the_other_side(filled: Store, other: Store, tmp_path: Path) -> None:
    archive = exported(filled, tmp_path / "x.tar.gz")
    found = bring(other, archive)
    assert found.added == ["runs/a1", "runs/a2", "runs/a3", "studies/depth.json", "ngram_baselines/d1.json"]
    assert rows(other) == rows(filled)
    again = bring(other, archive)
    assert (again.added, again.conflicts) == ([], [])
    assert len(again.same) == 5
    assert rows(other) == rows(filled)
    assert not list(other.root.glob(".*"))


def test_a_result_that_differs_stays_and_is_named(filled: Store, other: Store, tmp_path: Path) -> None:
    archive = exported(filled, tmp_path / "x.tar.gz")
    bring(other, archive)
    other.run("a1").archive()
    Recorder(other.run("a1").new_attempt(), {}).commit("done", {"loss": 7.0})
    other.save_study({"name": "depth", "runs": []})
    before = rows(other)
    found = bring(other, archive)
    assert found.conflicts == ["runs/a1", "studies/depth.json"]
    assert rows(other) == before


def test_a_result_takes_the_place_of_none_which_is_kept_in_the_trash(
    filled: Store, other: Store, tmp_path: Path
) -> None:
    bring(other, exported(filled, tmp_path / "x.tar.gz"))
    Recorder(filled.run("a2").new_attempt(), {}).commit("done", {"loss": 3.0})
    filled.run("a1").save_evaluation("e2", {"rows": [{"task": "needle", "value": 1.0}]})
    found = bring(other, exported(filled, tmp_path / "y.tar.gz"))
    assert found.added == ["runs/a1/evals/e2.json", "runs/a2"]
    assert rows(other) == rows(filled)
    [trashed] = other.root.glob("trash/*/runs/a2/attempts/1/status.json")
    assert b"boom" in trashed.read_bytes()


def test_a_running_run_is_not_replaced(filled: Store, other: Store, tmp_path: Path) -> None:
    bring(other, exported(filled, tmp_path / "x.tar.gz"))
    Recorder(filled.run("a3").new_attempt(), {}).commit("done", {})
    with other.run("a3").new_attempt().claim.kept():
        assert bring(other, exported(filled, tmp_path / "y.tar.gz")).conflicts == ["runs/a3"]


def searched(store: Store, study: str, value: float = 2.0) -> SearchFolder:
    """A search of a study, with a trial and a finalist."""
    search = store.search(f"{study}-1")
    search.create({"study": study, "arm": "", "objectives": [["loss", "loss", "minimize"]], "seeds": 1})
    search.save_trial(Trial(0, "sampler", {"train.lr": 1e-2}, state="done", values=(value,), runs=("a1",)).plain())
    row = {"number": 0, "params": {"train.lr": 1e-2}, "seed": 1, "run_id": "a1"}
    write_json(search.finalists_path, {"runs": [row]})
    return search


def test_searches_travel_with_a_whole_store(filled: Store, other: Store, tmp_path: Path) -> None:
    searched(filled, "depth")
    with searched(filled, "width").alone():
        archive = exported(filled, tmp_path / "x.tar.gz")
    assert {"searches/depth-1", "searches/width-1"} <= set(bring(other, archive).added)
    assert len(rows(other)["trials"]) == len(rows(other)["finalists"]) == 2
    assert rows(other) == rows(filled)
    again = bring(other, archive)
    assert (again.added, again.conflicts) == ([], [])
    assert {"searches/depth-1", "searches/width-1"} <= set(again.same)
    with other.search("width-1").alone():  # the archive has nothing of who was at it
        pass


def test_a_study_takes_its_own_searches_alone(filled: Store, other: Store, tmp_path: Path) -> None:
    searched(filled, "depth")
    searched(filled, "width")
    export(filled, ["a1"], ["depth"], tmp_path / "x.tar.gz")
    bring(other, tmp_path / "x.tar.gz")
    assert [search.name for search in other.searches()] == ["depth-1"]


def test_a_search_of_which_nobody_can_say_whose_it_is_is_not_left_behind(filled: Store, tmp_path: Path) -> None:
    searched(filled, "depth")
    lost = searched(filled, "width")
    lost.definition_path.write_text("{")
    export(filled, [], ["depth"], tmp_path / "some.tar.gz")
    with tarfile.open(tmp_path / "some.tar.gz") as archive:
        names = {Path(name).parts[1] for name in archive.getnames() if name.startswith("searches/")}
    assert names == {"depth-1", "width-1"}


def test_a_search_that_differs_stays_and_is_named(filled: Store, other: Store, tmp_path: Path) -> None:
    searched(filled, "depth")
    searched(other, "depth", value=7.0)
    found = bring(other, exported(filled, tmp_path / "x.tar.gz"))
    assert found.conflicts == ["searches/depth-1"]
    assert [trial["values"] for trial in other.search("depth-1").trials()] == [[7.0]]


def archive_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], listed: dict[str, bytes]) -> Path:
    """An archive with these members after a list of contents."""
    contents = json_bytes({"form": 1, "files": {name: digest_of(content) for name, content in listed.items()}})
    first = tarfile.TarInfo(CONTENTS)
    with tarfile.open(path, "w:gz") as archive:
        for member, content in [(first, contents), *members]:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../out", "runs/../../out", "/tmp/out", "runs/a1/../../../out", "runs//out", "runs/./out", "out",
        "runs", "compact/manifest.json", "trash/x", "runs/.hidden", "runs/a1/\x00", "runs\\..\\out",
        "runs/" + "x" * 200,
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(other: Store, tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", [(tarfile.TarInfo(name), b"x")], {name: b"x"})
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"is not a path of a store|is not a plain file|is missing"):
        bring(other, archive)
    assert not list(other.root.iterdir())
    assert set(tmp_path.iterdir()) - before <= {other.root}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(other: Store, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("runs/a1/run.json")
    member.type, member.linkname = kind, "/etc/passwd"
    archive = archive_of(tmp_path / "x.tar.gz", [(member, b"")], {"runs/a1/run.json": b""})
    with pytest.raises(UserError, match="is not a plain file"):
        bring(other, archive)
    assert not list(other.root.iterdir())


@pytest.mark.parametrize(
    ("listed", "members"),
    [
        ({"runs/a1/run.json": b"{}"}, {"runs/a1/run.json": b"{ "}),
        ({"runs/a1/run.json": b"{}"}, {"runs/a1/run.json": b"{}" * 9}),
        ({"runs/a1/run.json": b"{}"}, {}),
        ({}, {"runs/a1/run.json": b"{}"}),
    ],
)
def test_a_member_that_differs_from_the_list_of_contents_is_refused(
    other: Store, tmp_path: Path, listed: dict[str, bytes], members: dict[str, bytes]
) -> None:
    some = [(tarfile.TarInfo(name), content) for name, content in members.items()]
    with pytest.raises(UserError):
        bring(other, archive_of(tmp_path / "x.tar.gz", some, listed))
    assert not list(other.root.iterdir())


def test_a_cut_or_flipped_archive_is_refused(filled: Store, other: Store, tmp_path: Path) -> None:
    path = exported(filled, tmp_path / "x.tar.gz")
    content = path.read_bytes()
    damaged = [content[: len(content) * part // 10] for part in range(10)]
    damaged += [gzip.compress(gzip.decompress(content).replace(b'"loss": 2.0', b'"loss": 1.0'))]
    damaged += [b"no archive", gzip.compress(b"no archive")]
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(UserError):
            bring(other, path)
        assert not list(other.root.iterdir())
    with pytest.raises(UserError, match="No such file"):
        bring(other, tmp_path / "nowhere")


def test_runs_in_the_trash_are_gone_and_can_be_moved_back(filled: Store) -> None:
    before = rows(filled)
    trash = filled.set_aside([filled.run("a1").path], "trash")
    assert ask(filled.root, "select run_id from runs order by 1").table["run_id"].to_pylist() == ["a2", "a3"]
    (trash / "runs" / "a1").rename(filled.run("a1").path)
    assert rows(filled) == before


def header(name: str, kind: bytes, size: int) -> bytes:
    """A block that begins a member of a tar."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def listing(files: dict[str, Any]) -> bytes:
    """The beginning of an archive: its list of contents, saying this of files."""
    content = json_bytes({"form": 1, "files": files})
    return header(CONTENTS, tarfile.REGTYPE, len(content)) + content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def sparse(name: str, size: int) -> bytes:
    """A member of no data that a reader of sparse files fills with `size` zeros."""
    block = bytearray(header(name, tarfile.GNUTYPE_SPARSE, 0))
    block[386:410] = b"%011o\0%011o\0" % (size, 0)
    block[483:495] = b"%011o\0" % size
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]  # type: ignore[attr-defined]
    return bytes(block)


SIZE = 20_000_000  # bytes that a few hundred ones of an archive become


def test_a_sparse_member_is_refused(other: Store, tmp_path: Path) -> None:
    name, zeros = "studies/depth.json", b"\0" * SIZE
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(listing({name: digest_of(zeros)}) + sparse(name, SIZE) + b"\0" * 1024))
    with pytest.raises(UserError, match="is not a plain file"):
        bring(other, path)
    assert not list(other.root.iterdir())


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_header_takes_no_memory(other: Store, tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    size = 5 * SIZE
    path.write_bytes(gzip.compress(listing({}) + header("long", kind, size) + b"x" * size, compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is not a plain file"):
            bring(other, path)
        assert tracemalloc.get_traced_memory()[1] < size / 2  # a piece of the stream, unpacked, and a copy
    finally:
        tracemalloc.stop()


def test_headers_within_headers_are_refused(other: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    nested = (header("long", tarfile.GNUTYPE_LONGNAME, 1) + b"x" + b"\0" * 511) * 5000
    path.write_bytes(gzip.compress(listing({}) + nested))
    with pytest.raises(UserError, match="is not an archive"):
        bring(other, path)


@pytest.mark.parametrize(
    "said", [{"bytes": 10**15, "sha256": "0" * 64}, {"bytes": -1, "sha256": "0" * 64}, {"bytes": "1"}, {}, [], None, 7]
)
def test_sizes_are_held_against_the_disk_before_anything_is_unpacked(other: Store, tmp_path: Path, said: Any) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(listing({"studies/a.json": said, "studies/b.json": digest_of(b"{}")})))
    with pytest.raises(UserError, match=r"needs 931,322\.\d GiB|its contents.json is of another form"):
        bring(other, path)
    assert not list(other.root.iterdir())


def test_long_names_travel(store: Store, other: Store, tmp_path: Path) -> None:
    store.save_study({"name": "x" * 115, "runs": []})
    assert bring(other, exported(store, tmp_path / "x.tar.gz")).added == [f"studies/{'x' * 115}.json"]


def test_a_folder_is_no_archive(other: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Is a directory"):
        bring(other, tmp_path)


@pytest.mark.parametrize("name", ["studies/depth.json", "ngram_baselines/d1.json", "benches/b1.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"name": "depth", "runs": {}}'])
def test_unsound_records_are_refused_and_the_rest_is_imported(
    filled: Store, other: Store, tmp_path: Path, name: str, content: bytes
) -> None:
    path = filled.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    found = bring(other, exported(filled, tmp_path / "x.tar.gz"))
    assert "runs/a1" in found.added
    assert name not in found.added
    assert [words.partition(":")[0] for words in found.refused] == [name]
    assert not (other.root / name).exists()


@pytest.mark.parametrize("name", ["run.json", "status.json", "evals/e1.json", "attempts/1/env.json"])
def test_a_run_with_an_unsound_record_is_refused_as_a_whole(
    filled: Store, other: Store, tmp_path: Path, name: str
) -> None:
    (filled.run("a1").path / name).write_bytes(b"[]")
    found = bring(other, exported(filled, tmp_path / "x.tar.gz"))
    assert found.added == ["runs/a2", "runs/a3", "studies/depth.json", "ngram_baselines/d1.json"]
    assert found.refused == [f"runs/a1/{name}: is not a JSON object"]
    assert not other.run("a1").path.exists()


def test_a_run_without_a_record_is_refused(filled: Store, other: Store, tmp_path: Path) -> None:
    filled.run("a1").record_path.unlink()
    found = bring(other, exported(filled, tmp_path / "x.tar.gz"))
    assert found.refused == ["runs/a1/run.json: is missing"]
