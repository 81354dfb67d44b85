"""Gradients, runs and evaluations in parts, and what happens where memory runs out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from every_task import every_task, run_of, trainer_of
from short_of_memory import train_apart
from torch import Tensor, nn
from variants import VARIANTS, of_variant

from titans.models.config import MemoryConfig
from titans.models.language_model import LanguageModel
from titans_lab.run.config import RunConfig
from titans_lab.store.folder import RunFolder
from titans_lab.training.microbatch import InParts, MicroBatches
from titans_lab.training.train import Trainer

SIZES = (1, 2, 4)  # of a batch of six: the last leaves a rest


def no_change(_: int) -> None:
    raise AssertionError("memory ran out")


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys() != set()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-10, msg=name)


def precise_trainer(config: RunConfig, folder: Path, size: int) -> Trainer:
    """In float64, at parameters away from where training starts them."""
    trainer = trainer_of(config, RunFolder(folder / str(size)).new_attempt())
    trainer.model.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    trainer.replica.micro_batches = MicroBatches(config.train.batch_size, size, no_change)
    return trainer


@pytest.mark.parametrize("task", every_task())
def test_gradients_in_parts_are_those_of_the_whole_in_every_task(task: str, tmp_path: Path):
    config = run_of(task, tmp_path)
    step = random.randrange(100)
    found = {}
    for size in (6, *SIZES):
        trainer = precise_trainer(config, tmp_path, size)
        batch = tuple(x.double() if x.is_floating_point() else x for x in trainer.task.sample(step))
        loss = trainer.replica.gradients(batch)
        found[size] = gradients(trainer.model) | {"loss": loss}
    for size in SIZES:
        assert_same(found[size], found[6])


def test_a_part_of_other_lengths_is_cut_into_as_many_parts(tmp_path: Path):
    """zoology's suite has steps of few long and of many short examples."""
    parts = MicroBatches(6, 2, no_change)
    assert [len(part[0]) for part in parts.of((torch.zeros(24, 8), torch.zeros(24, 8)))] == [8, 8, 8]
    assert [len(part[0]) for part in MicroBatches(6, 4, no_change).of((torch.zeros(6, 32),))] == [3, 3]
    assert [len(part[0]) for part in MicroBatches(6, 9, no_change).of((torch.zeros(6, 32),))] == [6]


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_in_parts_are_those_of_the_whole_for_every_model(variant: Any):
    memory = MemoryConfig(depth=2, expansion=2, chunk_size=4)
    config = of_variant(variant, vocab_size=11, dim=8, n_heads=2, n_layers=1, segment_len=8, window=6, memory=memory)
    model = LanguageModel(config).double()
    inputs, targets = torch.randint(11, (5, 13)), torch.randint(11, (5, 13))
    found = []
    for size in (5, 1, 2):
        for part, wanted in MicroBatches(5, size, no_change).of((inputs, targets)):
            (F.cross_entropy(model(part).flatten(0, 1), wanted.flatten(), reduction="sum") / targets.numel()).backward()
        found.append(gradients(model))
    for other in found[1:]:
        assert_same(other, found[0])


@pytest.mark.parametrize("task", ["text", "mqar", "compression", "genome", "series", "needle"])
def test_a_run_in_parts_ends_in_the_same_figures_but_for_rounding(task: str, tmp_path: Path):
    ends = []
    for size in (None, 1, 4):
        config = run_of(task, tmp_path, speed__micro_batch=size)
        ends.append(trainer_of(config, RunFolder(tmp_path / str(size)).new_attempt()).run())
    for end in ends[1:]:
        assert end["loss"] == pytest.approx(ends[0]["loss"], rel=1e-4)
        assert end["train_loss"] == pytest.approx(ends[0]["train_loss"], rel=1e-4)


def test_an_evaluation_reads_in_parts_and_looks_before_each():
    looks: list[int] = []
    sizes: list[int] = []

    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return 2 * x

    x = torch.rand(5, 3)
    model = InParts(Doubled(), MicroBatches(5, 2, no_change).of, lambda: looks.append(len(sizes)))
    assert torch.equal(model(x), 2 * x)
    assert (sizes, looks) == ([2, 2, 1], [0, 1, 2])


def test_memory_that_runs_out_halves_the_parts_until_they_are_single():
    sizes: list[int] = []
    parts = MicroBatches(13, 13, sizes.append)

    def work() -> int:
        if parts.size > 2:
            raise MemoryError
        return parts.size

    assert parts.within_memory(work) == 1
    assert sizes == [6, 3, 1]

    def never() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        parts.within_memory(never)


def test_other_errors_halve_nothing():
    def wrong() -> Tensor:
        return torch.ones(2) + torch.ones(3)

    with pytest.raises(RuntimeError, match="size"):
        MicroBatches(8, 8, no_change).within_memory(wrong)


WIDE = {"train__seq_len": 512, "train__batch_size": 64, "train__tokens": 3 * 64 * 512, "log__valid_bytes": 500}


def trained_with(megabytes: int, config: RunConfig, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """How it ended, and env.json."""
    attempt = RunFolder(folder).new_attempt()
    assert train_apart(megabytes, config, attempt) == 0
    return json.loads((attempt.path / "end.json").read_text()), json.loads(attempt.env_path.read_text())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory it gives")
def test_a_run_for_which_memory_is_short_ends_with_smaller_parts_and_the_same_loss(tmp_path: Path):
    config = run_of("text", tmp_path, **WIDE | {"train__seq_len": 256, "train__batch_size": 256})
    short, env = trained_with(160, config, tmp_path / "short")
    ample, other = trained_with(8000, config, tmp_path / "ample")
    assert "oom_retries" not in other
    assert env["oom_retries"] == round(torch.log2(torch.tensor(256 / env["micro_batch"])).item()) > 0
    assert env["deterministic"] is False
    assert short["loss"] == pytest.approx(ample["loss"], rel=1e-4)
    assert short["steps"] == ample["steps"] > 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory it gives")
def test_running_out_of_memory_with_a_single_example_is_reported(tmp_path: Path):
    config = run_of("text", tmp_path, **WIDE | {"train__seq_len": 1024, "train__tokens": 64 * 1024, "model__dim": 512})
    end, env = trained_with(32, config, tmp_path / "none")
    assert end["oom"], end
    assert (env["micro_batch"], env["oom_retries"]) == (1, 6)
