"""Make a small store with a record of every kind, for `benchmarks/damage.py`. Its runs take no time."""

from __future__ import annotations

import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from instant import InstantExecutor

from titans_lab.executors.devices import Device
from titans_lab.run.config import RunConfig
from titans_lab.run.identity import model_id
from titans_lab.run.run import Run, config_of
from titans_lab.search.coordinator import Coordinator, tunings
from titans_lab.store.checkpoints import save_checkpoint
from titans_lab.store.claims import NOBODY, Holder, Watch
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study
from titans_lab.sweep import record_runs

BASE = """\
question: Is what is damaged named?
base:
  model: {{variant: lmm, dim: 16, n_layers: 1, n_heads: 2, persistent_tokens: 2, memory: {{depth: 1, chunk_size: 8}}}}
  train: {{tokens: {tokens}, seq_len: 32, batch_size: 2}}
  data: {{path: "{text}", valid_fraction: 0.1}}
  log: {{valid_every: 2}}
"""
GRID = "grid:\n  model.memory.depth: [1, 2]\nseeds: 3\n"
SEARCH = "search:\n  sampler: random\n  trials: 2\n  space: {train.lr: {float: [1e-4, 1e-1], log: true}}\n"
FINALISTS = "  finalists: {count: 1, seeds: 1}\n"
ENV = {"host": "laptop", "device": "cpu", "device_name": "a core", "python": "3.11.7", "torch": "2.13.0", "commit": "c"}
STEPS = 4
PLACE = Device("cpu", "0", "core 0", "a core")


@dataclass(frozen=True)
class Lab:
    """A store with a study that is swept in part, and one that was tuned.

    Attributes:
        store: The store of both studies.
        swept: The file of the first study.
        tuned: The search of the second study.
    """

    store: Store
    swept: Path
    tuned: Path

    @property
    def runs(self) -> list[Run]:
        """Return the runs of the first study: four done (the last twice), one cancelled, and one whose worker died."""
        return load_study(self.swept).runs(RunConfig.data_digest)


def make(folder: Path) -> Lab:
    """Return the store with both studies, below a folder."""
    text, lab = folder / "text.txt", Lab(Store(folder / "store"), folder / "swept.yaml", folder / "tuned.yaml")
    text.write_bytes(b"the memory learns at test time, and forgets what it need not keep. " * 60)
    lab.swept.write_text(BASE.format(text=text, tokens=64 * STEPS) + GRID)
    lab.tuned.write_text(BASE.format(text=text, tokens=128 * STEPS) + SEARCH + FINALISTS)
    runs = lab.runs
    record_runs(runs, lab.store)
    for run in runs[:4]:
        finish(lab.store.run(run.run_id).new_attempt())
    again = lab.store.run(runs[3].run_id)
    again.archive()
    finish(again.new_attempt())
    stop(lab.store.run(runs[4].run_id).new_attempt())
    log(lab.store.run(runs[5].run_id).new_attempt(), 2)
    measure(lab, runs[0])
    lab.store.save_study(load_study(lab.swept).record(runs))
    tune(lab)
    return lab


def tune(lab: Lab) -> None:
    """Run a search whose runs are a function."""
    study = load_study(lab.tuned)
    executor = InstantExecutor(lambda config, seed: [3.0, 2.0 + config.train.lr + seed / 100])
    search = Coordinator(study, tunings(study, lab.store, RunConfig.data_digest), lab.store, executor, [PLACE])
    search.run(lambda *_: None)


def measure(lab: Lab, run: Run) -> None:
    """Write the records besides runs: an evaluation, n-gram baselines, a bench, a verification."""
    row = {"task": "needle", "metric": "accuracy", "unit": "share", "direction": "maximize", "length": 2048}
    lab.store.run(run.run_id).save_evaluation("e1", {"rows": [row | {"value": 0.5, "count": 4}]})
    split = {"data_hash": run.data_hash, "valid_fraction": 0.1, "valid_bytes": None, "data_source": "a text"}
    lab.store.save_ngram_baseline("f1", {**split, "bits_per_byte": {"0": 4.5, "3": 3.25}})
    speed = {"ratio": 1.5, "ratio_low": 1.25, "ratio_high": 2.0, "tokens_per_second": 1000.0, "threads": 1}
    where = {"model": model_id(run.config.model), "length": 32, "against": "transformer", "batch": 2}
    lab.store.save_bench("b1", {"bench": "b1", "started": "2026-01-01T00:00:00+00:00", "rows": [speed | where]})
    lab.store.save_verified("v1", {"models": [], "rows": []})


def losses(config: RunConfig, seed: int) -> list[float]:
    """Return made-up losses of each step of a run, which differ from run to run."""
    last = 2 + config.model.memory.depth / 8 + seed / 64
    return [last + 1 / step - 1 / STEPS for step in range(1, STEPS + 1)]


def log(attempt: Attempt, steps: int) -> Recorder:
    """Return the first steps of a run."""
    record = attempt.folder.record()
    recorder = Recorder(attempt, ENV | {"micro_batch": 2, "deterministic": True})
    attempt.log_path.write_text("the worker has begun\n")
    for step, loss in enumerate(losses(config_of(record), record["seed"])[:steps], 1):
        time = {"tokens_per_second": 1000.0, "step_seconds": 0.064, "elapsed_seconds": 0.064 * step}
        recorder.log(step=step, tokens=64 * step, loss=loss, valid_loss=loss, lr=1e-3, grad_norm=0.5, **time)
        recorder.add("memory", [{"step": step, "block": 0, "layer": 0, "head": 0, "theta": 0.5 / step}])
    return recorder


def finish(attempt: Attempt) -> None:
    """Write all records that a worker leaves."""
    recorder, record = log(attempt, STEPS), attempt.folder.record()
    loss = losses(config_of(record), record["seed"])[-1]
    recorder.add(
        "evals", [{"task": "text", "metric": "loss", "direction": "minimize", "split": "valid", "value": loss}]
    )
    attempt.weights_path.write_bytes(b"weights" + zlib.crc32(attempt.folder.run_id.encode()).to_bytes(4))
    figures = {"loss": loss, "score": loss, "train_loss": loss, "tokens": 64 * STEPS, "steps": STEPS}
    recorder.commit("done", figures | {"wall_seconds": 0.256, "tokens_per_second": 1000.0, "peak_memory_bytes": 2**20})


def stop(attempt: Attempt) -> None:
    """Write the records of a cancelled worker."""
    recorder = log(attempt, 2)
    for step in (1, 2):
        save_checkpoint(attempt, step, lambda file: file.write(b"a checkpoint" * 9))
    attempt.ask_to_stop("cancelled", "titans-lab cancel")
    recorder.commit("cancelled", {"steps": 2}, "titans-lab cancel")


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended as soon as it begins."""

    attempt: Attempt
    device: Device

    def poll(self) -> str:
        return "ended"

    def out_of_memory(self) -> bool:
        return False

    def terminate(self) -> None: ...

    def wait(self) -> None: ...


class Executor:
    """An executor without workers. It does not wait for those of other machines either."""

    def submit(self, folder: RunFolder, device: Device) -> EndedJob:
        attempt = folder.new_attempt(Holder.of(os.getpid()), Watch(lease=-1.0))
        finish(attempt)
        attempt.claim.write(NOBODY, 0)
        return EndedJob(attempt, device)

    def rest(self) -> None: ...
