from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
import torch
from workbench import Workbench

import titans
from titans.models.language_model import LanguageModel
from titans_lab.data.corpus import load_corpus
from titans_lab.errors import UserError
from titans_lab.evaluation.trained import load_run
from titans_lab.store.files import read_json, write_json
from titans_lab.store.folder import FINISHED, RunFolder
from titans_lab.store.logs import digest_of
from titans_lab.store.query import ask
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import build_task
from titans_lab.tasks.text.task import TextTask, evaluate
from titans_lab.training.train import Trainer
from titans_lab.training.weights import save_weights
from titans_lab.training.worker import work


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def trained(bench: Workbench, *overrides: str) -> RunFolder:
    """A run whose worker has ended."""
    folder = bench.recorded(*overrides)
    assert work(folder.new_attempt(), torch.device("cpu")) in FINISHED
    return folder


def test_a_loaded_run_is_the_model_that_training_ended_with(bench: Workbench):
    folder = trained(bench, "model.variant=mag", "seeds=[7]")
    found = load_run(bench.store, folder.run_id[:6])
    [run] = bench.runs("model.variant=mag", "seeds=[7]")
    assert (found.run_id, found.seed, found.data_hash) == (folder.run_id, 7, run.data_hash)
    assert found.config.model == run.config.model
    corpus = load_corpus(run.config.data)
    loss = evaluate(found.model, TextTask(corpus, 7, 32, 2), torch.device("cpu"))
    assert loss == bench.ask("select loss from runs")[0]["loss"]
    untrained = LanguageModel(run.config.model, 7)
    assert loss < evaluate(untrained, TextTask(corpus, 7, 32, 2), torch.device("cpu"))


def test_weights_are_float32_and_the_commit_covers_them(bench: Workbench):
    folder = trained(bench)
    status, latest = folder.status(), folder.latest()
    assert status is not None
    assert latest is not None
    content = latest.weights_path.read_bytes()
    assert status.files["attempts/1/weights.pt"] == {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    tensors = torch.load(latest.weights_path, weights_only=True)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert 4 * sum(map(torch.numel, tensors.values())) < len(content) < 2 * 4 * sum(map(torch.numel, tensors.values()))
    assert [path.name for path in latest.path.iterdir() if path.suffix == ".tmp"] == []


def test_bfloat16_weights_are_kept_as_float32(bench: Workbench):
    [run] = bench.runs()
    attempt = bench.recorded().new_attempt()
    trainer = Trainer(run.config, 0, build_task(run.config, 0), torch.device("cpu"), Recorder(attempt, {}))
    save_weights(attempt, trainer.model.bfloat16())
    assert {x.dtype for x in torch.load(attempt.weights_path, weights_only=True).values()} == {torch.float32}


def test_runs_without_weights_say_how_to_get_some(bench: Workbench):
    folder = trained(bench, "log.weights=false")
    assert ask(bench.store.root, "select log.weights from runs").table.to_pylist() == [{"weights": False}]
    with pytest.raises(
        UserError, match=rf"run {folder.run_id}: its weights were not kept .* rerun .* log\.weights=true"
    ):
        load_run(bench.store, folder.run_id)


def test_a_run_that_has_not_ended_well_is_refused(bench: Workbench):
    folder = bench.recorded()
    with pytest.raises(UserError, match=r"is pending, not done; sweep its study to the end"):
        load_run(bench.store, folder.run_id)
    assert work(folder.new_attempt(), torch.device("cpu")) == "done"
    write_json(folder.status_path, read_json(folder.status_path) | {"state": "diverged"})
    with pytest.raises(UserError, match="is diverged, not done"):
        load_run(bench.store, folder.run_id)


def test_a_diverged_run_keeps_no_weights(bench: Workbench):
    folder = trained(bench, "train.lr=1e30")
    assert folder.state() == "diverged"
    assert not list(folder.path.rglob("weights.pt"))


def test_the_start_of_an_id_has_to_mean_one_run(bench: Workbench):
    with pytest.raises(UserError, match=r"'abc': no run in .* --store names another"):
        load_run(bench.store, "abc")
    for name in ("ab1", "ab2"):
        bench.store.run(name).create({})
    with pytest.raises(UserError, match=r"'ab': 2 runs in .* begin so \(ab1, ab2\)"):
        load_run(bench.store, "ab")
    with pytest.raises(UserError, match="no run"):
        load_run(bench.store, "")


def test_weights_that_are_not_what_was_committed_are_refused(bench: Workbench):
    folder = trained(bench)
    [path] = folder.path.rglob("weights.pt")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"weights\.pt: is not what status\.json committed"):
        load_run(bench.store, folder.run_id)
    path.unlink()
    with pytest.raises(UserError, match=r"its weights are not in this store"):
        load_run(bench.store, folder.run_id)


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"no weights", b"", b"hello", b"G", b"\x80\x02J", saved([1]), saved({}), saved({"norm.weight": torch.zeros(1)})],
)
def test_committed_weights_that_do_not_load_are_refused(bench: Workbench, content: bytes):
    folder = trained(bench)
    [path] = folder.path.rglob("weights.pt")
    path.write_bytes(content)
    status = read_json(folder.status_path)
    write_json(folder.status_path, status | {"files": status["files"] | {"attempts/1/weights.pt": digest_of(content)}})
    with pytest.raises(UserError, match="its weights do not load"):
        load_run(bench.store, folder.run_id)


def test_weights_of_another_version_of_the_model_are_refused(bench: Workbench):
    folder = trained(bench)
    record = folder.record()
    record["versions"]["model"] = 1
    folder.record_path.write_text(json.dumps(record))
    words = rf"trained by version 1 of the model, and this is version {titans.VERSIONS['model']}"
    with pytest.raises(UserError, match=words):
        load_run(bench.store, folder.run_id)
