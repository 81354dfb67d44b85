from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from workbench import ENDLESS, MINUTES, Workbench, begun, run, until

from titans_lab.data.corpus import load_corpus
from titans_lab.executors.devices import cores
from titans_lab.executors.local import LocalExecutor, LocalJob
from titans_lab.stats.ngram import witten_bell_bits
from titans_lab.store.checkpoints import checkpoints
from titans_lab.store.columns import LOGS
from titans_lab.store.folder import RunFolder
from titans_lab.store.logs import read_lines
from titans_lab.store.query import ask
from titans_lab.store.status import Status
from titans_lab.tasks.text import TextSettings
from titans_lab.training.microbatch import is_out_of_memory
from titans_lab.training.worker import save_ngram_baseline, work

CPU = torch.device("cpu")

BY_POSITION = "select sum(value * count), sum(count)::bigint from evals where position is not null"
#: The worker as its command line runs it, and then, in the log of its last attempt, what it has imported.
WITH_MODULES = """
import sys
from titans_lab.training.serve import main
code = main(sys.argv[1:])
print(*sorted(name for name in sys.modules if "." not in name))
sys.exit(code)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


@pytest.fixture
def training(bench: Workbench) -> Iterator[LocalJob]:
    """A worker that has logged its first line, in a run that would take hours."""
    job = LocalExecutor().submit(bench.recorded(ENDLESS), cores()[0])
    until(lambda: begun(job.attempt.folder), "the first line of metrics")
    yield job
    job.terminate()
    job.wait()


def status_of(folder: RunFolder) -> Status:
    status = folder.status()
    assert status is not None
    return status


def test_a_run_is_committed_as_done_with_all_that_belongs_to_it(bench: Workbench):
    folder = bench.recorded("log.every=2", "log.memory_every=2")
    attempt = folder.new_attempt()
    command = [sys.executable, "-c", WITH_MODULES, str(folder.store), "--device", "cpu"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(f"{attempt.path.relative_to(folder.store)}\n".encode())
        worker.stdin.flush()
        assert worker.stdout.readline() == b"next\n"  # its standard input still open
        assert worker.communicate(timeout=MINUTES) == (b"", b"")
        assert worker.returncode == 0
    [modules] = [line.split() for line in attempt.log_path.read_text().splitlines()]
    assert "torch" in modules
    assert not {"duckdb", "plotly", "pydantic", "typer", "rich", "jinja2"} & set(modules)

    [run] = bench.ask("select * from runs")
    assert (run["state"], run["attempt"], run["error"]) == ("done", 1, None)
    assert (run["steps"], run["tokens"], run["diverged_step"]) == (4, 256, None)
    assert 0 < run["loss"] < 9
    assert 0 < run["train_loss"] < 9
    assert run["tokens_per_second"] > 0
    assert run["wall_seconds"] > 0
    assert run["peak_memory_bytes"] > 1e6
    assert run["started"] < run["finished"]
    assert (run["device"], run["torch"], run["python"]) == ("cpu", torch.__version__, sys.version.split()[0])
    assert run["host"]
    assert run["device_name"]
    assert run["commit"]
    assert [row["step"] for row in bench.ask("select step from metrics order by step")] == [2, 4]
    status = folder.status()
    assert status is not None
    assert status.files.keys() == {
        f"attempts/1/{name}" for name in ("metrics.parquet", "memory.parquet", "evals.parquet", "weights.pt")
    }
    assert (run["metric"], run["unit"], run["direction"]) == ("loss", "bits per byte", "minimize")
    row, *perplexities = bench.ask(
        "select * from evals where position is null and split = 'test' order by metric = 'loss' desc, metric"
    )
    [validated] = bench.ask("select value from evals where split = 'valid' and metric = 'loss'")
    assert validated["value"] == run["valid_loss"] == run["valid_score"]
    assert [each["metric"] for each in perplexities] == ["token_perplexity", "word_perplexity"]
    assert row.pop("run_id") == run["run_id"]
    assert row.pop("value") == run["loss"] == run["score"]
    assert {name: value for name, value in row.items() if value is not None} == {
        "task": "text", "metric": "loss", "unit": "bits per byte", "direction": "minimize", "split": "test",
        "headline": True, "count": 200,
    }  # fmt: skip
    [(total, count)] = [tuple(each.values()) for each in bench.ask(BY_POSITION)]
    assert (total / count, count) == (pytest.approx(run["loss"]), 200)
    stale = bench.ask("""
        select step, head, avg(staleness) > 0 and max(staleness) < 9 as plausible from memory
        where block = 0 and layer = 0 and position is not null group by all order by all
    """)
    assert [tuple(row.values()) for row in stale] == [(step, head, True) for step in (2, 4) for head in (0, 1)]


def test_ngram_baselines_are_recorded_once_for_a_split(bench: Workbench):
    data = bench.runs()[0].config.data
    corpus = load_corpus(data)
    save_ngram_baseline(bench.store, corpus, data, TextSettings.ORDERS)
    rows = bench.ask("select context, bits_per_byte, valid_fraction, data_source from ngram_baselines order by context")
    assert [row["context"] for row in rows] == [0, 1, 3]
    for row in rows:
        assert row["bits_per_byte"] == witten_bell_bits(corpus.train, corpus.test, row["context"])
        assert (row["valid_fraction"], row["data_source"]) == (0.1, str(bench.text))
    [path] = bench.store.ngram_baseline_paths()
    os.utime(path, (0, 0))
    save_ngram_baseline(bench.store, corpus, data, TextSettings.ORDERS)
    assert path.stat().st_mtime == 0
    other = bench.runs("data.valid_bytes=50")[0].config.data
    save_ngram_baseline(bench.store, load_corpus(other), other, TextSettings.ORDERS)
    assert len(bench.store.ngram_baseline_paths()) == 2


def test_a_worker_that_is_asked_to_end_commits_that_it_was_cancelled(training: LocalJob):
    while training.process.poll() is None:  # again and again, which must not disturb the commit
        training.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert training.process.returncode == 1
    status = status_of(training.attempt.folder)
    assert (status.state, status.error) == ("cancelled", "cancelled before its end")
    assert training.attempt.folder.metrics_path.exists()
    assert status.summary["steps"] == checkpoints(training.attempt.folder)[0].step > 0
    assert training.attempt.log_path.read_text() == ""


def test_records_of_a_killed_worker_are_read(bench: Workbench):
    job = LocalExecutor().submit(bench.recorded(ENDLESS, "log.every=1", "log.memory_every=1"), cores()[0])
    until(lambda: looked(job) > 1, "two looks inside")
    job.process.kill()
    job.wait()
    answer = ask(bench.store.root, "select count(*) as rows, count(theta) as gates from memory where step = 1")
    assert answer.damage == ()
    assert answer.table.to_pylist() == [{"rows": 2 * 2 * 5, "gates": 2 * 5}]


def looked(job: LocalJob) -> int:
    """The step of the last look inside that is on disk."""
    rows, _ = read_lines(job.attempt.lines_path("memory"), LOGS["memory"])
    return rows[-1]["step"] if rows else 0


def test_a_worker_ends_when_its_coordinator_is_gone(training: LocalJob):
    assert training.attempt.folder.state() == "running"
    assert training.process.stdin is not None
    training.process.stdin.close()
    assert training.process.wait(MINUTES) == 1
    assert status_of(training.attempt.folder).state == "cancelled"


def test_a_run_that_is_killed_again_and_again_has_the_numbers_of_one_undisturbed(bench: Workbench):
    what = ("train.tokens=5120", "log.every=1", "log.checkpoint_seconds=0")
    folder = bench.recorded(*what)
    for _ in range(4):
        worker = multiprocessing.get_context("fork").Process(target=work, args=(folder.new_attempt(), CPU))
        worker.start()
        until(lambda worker=worker: begun(folder) or not worker.is_alive(), "the first line of metrics")
        time.sleep(random.random() / 8)
        worker.kill()
        worker.join()
    assert work(folder.new_attempt(), CPU) == "done"
    assert status_of(folder).env["resumed_from"]["step"] > 0
    assert not checkpoints(folder)
    other = RunFolder(bench.root / "undisturbed" / folder.run_id)
    other.create(folder.record())
    work(other.new_attempt(), CPU)
    assert numbers(folder) == numbers(other)


def numbers(folder: RunFolder) -> tuple[object, ...]:
    """What a run ended with, but for times."""
    status = status_of(folder)
    rows = pq.read_table(folder.metrics_path, columns=["step", "tokens", "loss", "lr", "grad_norm"]).to_pylist()
    weights = next(digest for name, digest in status.files.items() if name.endswith("weights.pt"))
    return rows, weights, status.summary["loss"], status.summary["train_loss"]


def out_of_torch_memory() -> object:
    return torch.empty(2**50)


def out_of_numpy_memory() -> object:
    return np.empty(2**50)


def wrong_shapes() -> object:
    return torch.ones(2) + torch.ones(3)


def no_number() -> object:
    return math.sqrt(-1)


@pytest.mark.parametrize(
    ("fail", "expected"),
    [(out_of_torch_memory, True), (out_of_numpy_memory, True), (wrong_shapes, False), (no_number, False)],
)
def test_memory_that_is_not_there_is_told_from_other_errors(fail: Callable[[], object], expected: bool):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fail()
    assert is_out_of_memory(caught.value) is expected


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling",
        "could not create a primitive",
    ],
)
def test_other_words_of_libraries_for_no_memory_are_known(text: str):
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(ValueError(text))
    assert is_out_of_memory(torch.OutOfMemoryError())


#: The worker, where there is not enough memory for the n-gram models.
WITHOUT_FLOORS = """
import sys
from pathlib import Path

import torch

import titans_lab.training.worker as worker
from titans_lab.store.folder import Attempt
from titans_lab.training.ending import Ending

def out_of_memory(*_):
    raise MemoryError("no room for baselines")

worker.witten_bell_losses = out_of_memory
sys.exit(worker.attend(Attempt(Path(sys.argv[1])), torch.device("cpu"), Ending()))
"""


def test_a_training_that_has_ended_stays_done_where_the_ngram_baselines_fail(bench: Workbench):
    folder = bench.recorded()
    ended = run([sys.executable, "-c", WITHOUT_FLOORS, str(folder.new_attempt().path)])
    assert folder.state() == "done"
    assert ended.returncode == 1
    assert "no room for baselines" in ended.stderr


def test_a_worker_imports_nothing_from_the_working_directory(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    (bench.root / "numpy.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(bench.root)
    executor = LocalExecutor()
    job = executor.submit(bench.recorded(), cores()[0])
    until(job.poll, "the end of the run")
    executor.rest()
    assert job.attempt.folder.state() == "done", status_of(job.attempt.folder).error


@pytest.mark.parametrize(
    ("task", "variant"), [("text", "mac"), ("text", "lstm"), ("selective_copying", "gated_deltanet")]
)
def test_the_same_run_in_two_processes_has_the_same_bits(bench: Workbench, task: str, variant: str):
    """In forks that begin with other states of torch's generator."""
    small = [f"task.selective_copying.{size}" for size in ("copied=4", "examples=64", "test_examples=16")]
    folder = bench.recorded(f"task.name={task}", f"model.variant={variant}", *small * (task != "text"))
    ends = []
    for place in ("one", "other"):
        copy = RunFolder(bench.root / place / folder.run_id)
        copy.create(folder.record())
        torch.manual_seed(len(ends))
        worker = multiprocessing.get_context("fork").Process(target=work, args=(copy.new_attempt(), CPU))
        worker.start()
        worker.join()
        ends.append(numbers(copy))
        assert status_of(copy).env["deterministic"] is True
    assert ends[0] == ends[1]


def test_a_diverged_run_is_a_result_that_no_sweep_tries_again(bench: Workbench):
    what = ("train.lr=1e30", "grid.train.max_grad_norm=[1.0, 2.0]")
    first = bench.call("sweep", *what)
    assert first.returncode == 0, first.stderr
    rows = bench.ask("select state, diverged_step, steps, error, attempt from runs")
    assert [row["state"] for row in rows] == ["diverged"] * 2
    assert all(row["diverged_step"] == row["steps"] > 0 and "not finite" in row["error"] for row in rows)
    again = bench.sweep(*what)
    assert again.waiting == []
    assert [row["attempt"] for row in rows] == [1, 1]
