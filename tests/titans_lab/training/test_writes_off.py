"""The figures of a run with all writes off: a trained memory recalls with its writes, and guesses without them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from workbench import Workbench

from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import build_task
from titans_lab.training.train import Trainer

PAIRS, VALUES = 2, 8
RECALL = (
    "model.vocab_size=16", "model.dim=16", "model.n_layers=1", "model.n_heads=1", "model.memory.chunk_size=4",
    "model.memory.depth=1", "model.memory.theta_scale=1", "task.name=mqar", f"task.mqar.pairs={PAIRS}",
    f"task.mqar.vocabulary={2 * VALUES}", "task.mqar.examples=null", "task.mqar.test_examples=200", "train.lr=1e-2",
    "train.seq_len=16", "train.batch_size=32", "train.tokens=204_800", "log.every=1000",
)  # fmt: skip


def trained(folder: Path, *overrides: str) -> dict[str, float]:
    bench = Workbench.at(folder)
    [run] = bench.runs(*overrides)
    recorder = Recorder(bench.recorded(*overrides).new_attempt(), {})
    return Trainer(run.config, run.seed, build_task(run.config, run.seed), torch.device("cpu"), recorder).run()


@pytest.mark.parametrize("variant", ["lmm", "gated_deltanet"])
def test_a_trained_memory_recalls_with_its_writes_and_guesses_without(tmp_path: Path, variant: str) -> None:
    found = trained(tmp_path, f"model.variant={variant}", *RECALL)
    assert found["score"] > 0.85
    assert found["score_writes_off"] < 1 / PAIRS - 0.2  # 1 / VALUES is chance
    assert found["loss_writes_off"] > math.log(VALUES) - 0.1 > found["loss"]


def test_a_model_without_writes_has_no_such_figure(tmp_path: Path) -> None:
    found = trained(tmp_path, "model.variant=transformer")
    assert math.isfinite(found["loss"])
    assert not {name for name in found if "writes_off" in name}


def test_a_memory_whose_writes_change_nothing_loses_nothing(tmp_path: Path) -> None:
    still = ("model.memory.theta_scale=0", "model.memory.forgetting=false", "model.persistent_tokens=0")
    found = trained(tmp_path, *still)
    assert found["loss_writes_off"] == pytest.approx(found["loss"], abs=1e-6)
