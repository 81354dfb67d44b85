"""The data of a run are what its id says: found out before a sweep, by its worker, by `eval` and by `doctor`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_task import run_of
from workbench import Workbench

from titans_lab.data.prepare import Request, prepare
from titans_lab.data.prepared import read_manifest
from titans_lab.data.sources import Source
from titans_lab.doctor import data
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.sweep import record_runs
from titans_lab.tasks.task import build_task
from titans_lab.training.worker import work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The prepared folder of the bench."""
    return tmp_path / "tokens"


@pytest.fixture
def bench(tmp_path: Path, folder: Path) -> Workbench:
    """A study of a prepared folder."""
    bench = Workbench.at(tmp_path)
    prepare(Request(Source(str(bench.text)), valid_fraction=0.1), folder, lambda *_: None)
    study = bench.study.read_text().replace(str(bench.text), str(folder)).replace(", valid_fraction: 0.1", "")
    bench.study.write_text(study)
    return bench


def overwrite(path: Path, content: bytes | None = None) -> None:
    """Other bytes in the file's place, with its size and its times."""
    before = path.stat()
    content = content or path.read_bytes()[::-1]
    assert len(content) == before.st_size
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_folder_that_was_overwritten_starts_no_sweep(bench: Workbench, folder: Path):
    assert bench.call("plan").returncode == 0
    overwrite(folder / "train.bin")
    for verb in ("plan", "sweep"):
        ended = bench.call(verb)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "train.bin: its content has changed since it was prepared; prepare the data again" in ended.stderr
    assert not bench.store.root.exists()


def test_a_worker_refuses_a_folder_that_was_overwritten_after_the_plan(bench: Workbench, folder: Path):
    run = bench.recorded()
    overwrite(folder / "train.bin")
    with pytest.raises(UserError, match=r"train\.bin: its content has changed since it was prepared"):
        work(run.new_attempt(), torch.device("cpu"))
    assert run.status() is None


def test_a_manifest_that_names_the_new_content_is_another_run(bench: Workbench, folder: Path):
    from hashlib import sha256

    [before] = bench.runs()
    overwrite(folder / "train.bin")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["train"]["file_sha256"] = sha256((folder / "train.bin").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    [after] = bench.runs()
    assert after.run_id != before.run_id


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dtype", "object", "dtype: 'object' is none of uint8, uint16, uint32"),
        ("vocabulary", 32, "model.vocab_size: 32 is below the 256 values of a byte"),
        ("vocabulary", 257, r"tokenizer\.json: not the tokenizer that manifest.json names"),
        ("vocabulary", "many", "vocabulary: 'many' is not a count"),
        ("vocabulary", True, "vocabulary: True is not a count"),
        ("valid", {"bytes": 10**400}, "valid.bytes: 1000000000.* is not a count"),
        ("valid", {"text_sha256": ["x"]}, "valid: has a SHA-256 that is none"),
        ("train", {"text_sha256": "x"}, "train: has a SHA-256 that is none"),
        ("train", {}, "manifest.json: damaged or of another version"),
        ("valid", None, "manifest.json: damaged or of another version"),
        ("tokenizer", ["bytes"], "request or tokenizer: not what"),
    ],
)
def test_a_manifest_from_elsewhere_is_not_believed(bench: Workbench, folder: Path, key: str, value: Any, message: str):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[key] = manifest[key] | value if value and isinstance(value, dict) else value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        bench.runs()


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "train.bin"])
def test_a_pipe_in_the_place_of_a_file_is_refused(bench: Workbench, folder: Path, name: str):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=rf"{name}"):
        bench.runs()


def test_the_tokenizer_of_a_trained_run_is_that_of_verified_data(bench: Workbench, folder: Path):
    [run] = bench.runs()
    settings, sections = run.config.task.settings, (run.config.model, run.config.data)
    assert settings.tokenizer(*sections, run.data_hash).pieces
    overwrite(folder / "valid.bin")
    with pytest.raises(UserError, match=r"valid\.bin: its content has changed since it was prepared"):
        settings.tokenizer(*sections, run.data_hash)


def test_the_doctor_names_data_that_are_not_what_runs_were_trained_on(bench: Workbench, folder: Path, tmp_path: Path):
    record_runs(bench.runs(), bench.store)
    assert [(fact.value, fact.wrong) for fact in data(bench.store)] == [(str(folder), None)]
    overwrite(folder / "train.bin")
    [fact] = data(bench.store)
    assert "train.bin: its content has changed since it was prepared" in str(fact.wrong)
    folder.rename(tmp_path / "moved")
    assert [(fact.value, fact.wrong) for fact in data(bench.store)] == [(f"{folder}: not on this machine", None)]


def test_the_doctor_names_a_text_that_was_replaced(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    record_runs(bench.runs("seeds=2"), bench.store)
    bench.text.write_bytes(bench.text.read_bytes() + b"More. ")
    record_runs(bench.runs("seeds=1"), bench.store)
    [fact] = data(bench.store)
    assert fact.wrong == "not what 2 of 3 runs were trained on; put that back, or sweep their studies again"


#: Of every task that reads files, those files, and what may be written in the place of some bytes.
SOURCES: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "text": {"text.txt": bytes.upper},
    "dna": {"dna.fa": lambda old: old.replace(b"A", b"C")},
    "genome": {"genome.csv": lambda old: old.replace(b"A", b"C")},
    "series": {"series.csv": lambda old: old.replace(b"1", b"2").replace(b"2020-02-02", b"2020-01-01")},
    "babilong": {
        "facts.txt": lambda old: old.replace(b"went", b"flew"),
        "book.txt": lambda old: old.replace(b"Call", b"Ring"),
    },
}


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in SOURCES.items() for name in names])
def test_other_content_in_the_place_of_a_file_is_another_digest_for_the_plan_and_the_worker(
    tmp_path: Path, task: str, name: str
):
    config: RunConfig = run_of(task, tmp_path)
    before = config.data_digest()
    assert build_task(config, 0).digest == before
    overwrite(tmp_path / name, SOURCES[task][name]((tmp_path / name).read_bytes()))
    assert before != config.data_digest() == build_task(config, 0).digest


def test_a_folder_has_one_digest_whatever_it_was_made_of(bench: Workbench, folder: Path, tmp_path: Path):
    prepare(Request(Source(str(bench.text)), valid_fraction=0.1), tmp_path / "again", lambda *_: None)
    assert read_manifest(folder).digest == read_manifest(tmp_path / "again").digest
