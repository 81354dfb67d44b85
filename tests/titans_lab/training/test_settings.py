"""The settings of the trainer, each in a whole run: averages, early ends, noise scale, resuming and micro-batches."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from every_task import run_of, trainer_of
from resuming import ended, stopped, unbroken

from titans_lab.store.folder import RunFolder
from titans_lab.store.store import Store
from titans_lab.tasks.task import build_task
from titans_lab.training.noise_scale import estimates, noise_of
from titans_lab.training.plateau import Plateau
from titans_lab.training.replica import Replica
from titans_lab.training.train import Trainer

CPU = torch.device("cpu")
#: Settings of the trainer, each of which a run resumes with.
SETTINGS: dict[str, dict[str, Any]] = {
    "muon": {"train__optimizer": "muon", "train__momentum": 0.9},
    "sgd": {"train__optimizer": "sgd"},
    "wsd": {"train__lr_schedule": "wsd", "train__decay_ratio": 0.5},
    "linear": {"train__lr_schedule": "linear"},
    "decay groups": {"train__decay_groups": "embedding.*=0.5 *.feed_forward.*=0"},
    "average": {"train__ema": 0.9, "log__valid_every": 2},
    "patience": {"train__patience": 2, "train__patience_every": 2, "train__patience_delta": 9.0},
    "noise scale": {"log__noise_scale": True, "speed__micro_batch": 2},
    "all": {
        "train__optimizer": "muon",
        "train__lr_schedule": "wsd",
        "train__decay_groups": "head.*=0",
        "train__ema": 0.99,
        "train__patience": 1,
        "train__patience_every": 2,
        "train__patience_delta": 9.0,
        "log__noise_scale": True,
        "speed__micro_batch": 2,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_resumes_to_the_bit_with_every_setting(name: str, tmp_path: Path) -> None:
    config = run_of("text", tmp_path, log__valid_bytes=100, train__patience_bytes=100, **SETTINGS[name])
    run = Store(tmp_path).run("run")
    for steps in (1, 1, 2):
        stopped(config, run, steps)
    found = ended(config, run)
    assert found == unbroken(config, tmp_path)
    usual = run_of("text", tmp_path, speed__micro_batch=config.speed.micro_batch)
    changed = found["weights"] != unbroken(usual, tmp_path / "usual")["weights"]
    assert changed is (name != "noise scale")  # which is logged alone


@pytest.mark.parametrize("name", ["muon", "sgd", "average", "decay groups"])
def test_micro_batches_change_no_number_but_by_rounding(name: str, tmp_path: Path) -> None:
    ends = []
    for size in (None, 2):
        config = run_of("text", tmp_path, speed__micro_batch=size, **SETTINGS[name])
        ends.append(trainer_of(config, RunFolder(tmp_path / str(size)).new_attempt()).run())
    # Muon rounds to bfloat16, where the last bit of a gradient may decide
    assert ends[1]["loss"] == pytest.approx(ends[0]["loss"], rel=5e-3 if name == "muon" else 1e-4)


def trained(folder: Path, **values: Any) -> Trainer:
    trainer = trainer_of(run_of("text", folder, **values), RunFolder(folder / "run").new_attempt())
    trainer.run()
    return trainer


def lines(trainer: Trainer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trainer.recorder.attempt.metrics_path.read_text().splitlines()]


@pytest.mark.parametrize("tied", [False, True])
def test_the_average_is_evaluated_and_kept_and_the_last_weights_are_trained(tied: bool, tmp_path: Path) -> None:
    config = run_of("text", tmp_path, train__ema=0.5, model__tie_embeddings=tied)
    plain = Replica(run_of("text", tmp_path, model__tie_embeddings=tied), 5, build_task(config, 5), CPU)
    expected = {name: p.detach().clone() for name, p in plain.model.named_parameters()}
    for step in range(1, 8):
        plain.take_step()
        decay = min(0.5, (1 + step) / (10 + step))
        for name, p in plain.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    trainer = trained(tmp_path, train__ema=0.5, model__tie_embeddings=tied)
    last = dict(trainer.replica.model.named_parameters())
    assert all(torch.equal(p, last[name]) for name, p in plain.model.named_parameters())
    for name, p in trainer.model.named_parameters():
        torch.testing.assert_close(p, expected[name])
    assert any(not torch.equal(p, last[name]) for name, p in trainer.model.named_parameters())
    scores = trainer.task.evaluate(trainer.model.eval(), CPU, 1000)
    assert scores != trainer.task.evaluate(trainer.replica.model.eval(), CPU, 1000)


def test_a_plateau_counts_the_checks_without_a_better_loss() -> None:
    plateau = Plateau()
    counts = []
    for step, loss in enumerate([3.0, 2.0, 1.95, 2.5, math.nan, 1.8, 1.85], 1):
        plateau.check(step, loss, 0.1)
        plateau.check(step, 9.0, 0.1)  # the same step again, after an interruption
        counts.append(plateau.since)
    assert counts == [0, 0, 1, 2, 3, 0, 1]
    assert plateau.best == 1.8


def test_training_ends_early_on_a_plateau_with_a_line_and_a_validation(tmp_path: Path) -> None:
    still = {"train__patience": 2, "train__patience_every": 2, "train__lr": 1e-30, "log__every": 100}
    trainer = trained(tmp_path, **still)
    assert trainer.step == 6  # the first check is the best, and the next two are no better
    found = lines(trainer)
    assert [row["step"] for row in found] == [2, 4, 6]
    assert all(row["valid_loss"] == found[0]["valid_loss"] for row in found)


def test_checks_are_not_taken_for_the_validations_of_the_log(tmp_path: Path) -> None:
    every = {"train__patience": 3, "train__patience_every": 2, "log__valid_every": 3, "log__every": 100}
    found = lines(trained(tmp_path, train__patience_bytes=32, log__valid_bytes=64, **every))
    assert [(row["step"], row["valid_loss"] is not None) for row in found] == [
        (2, False), (3, True), (4, False), (6, True), (7, False),
    ]  # fmt: skip
    (tmp_path / "other").mkdir()
    alone = lines(trained(tmp_path / "other", log__valid_every=3, log__valid_bytes=64))
    assert [row["valid_loss"] for row in alone if row["step"] in (3, 6)] == [
        found[1]["valid_loss"],
        found[3]["valid_loss"],
    ]


def test_training_that_goes_on_improving_takes_its_budget(tmp_path: Path) -> None:
    trainer = trained(tmp_path, train__patience=1, train__patience_every=1, train__lr=3e-3)
    losses = [row["valid_loss"] for row in lines(trainer)]
    assert losses == sorted(losses, reverse=True)
    assert trainer.step == 7


@pytest.mark.parametrize("task", ["text", "mqar", "series"])
def test_the_estimates_are_those_of_the_gradients_of_parts_and_batch(task: str, tmp_path: Path) -> None:
    config = run_of(task, tmp_path, log__noise_scale=True, speed__micro_batch=2, train__max_grad_norm=None)
    replica = Replica(config, 5, build_task(config, 5), CPU)
    batch = replica.task.sample(0)
    norms = []
    for size in (2, 6):
        part = tuple(x[:size] for x in batch)
        loss = replica.task.losses(replica.model, part).sum() / replica.task.terms(part)
        trained = [p for p in replica.model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        norms.append(sum(g.square().sum() for g in gradients if g is not None))
    square, variance = (6 * norms[1] - 2 * norms[0]) / 4, (norms[0] - norms[1]) / (1 / 2 - 1 / 6)
    _, _, *found = replica.take_step()
    torch.testing.assert_close(torch.stack(found), torch.stack((square, variance)), rtol=1e-3, atol=1e-6)


def test_the_estimates_are_unbiased() -> None:
    """Gradients of 5 examples with a known mean and covariance, of which 2 are the small batch."""
    generator = torch.Generator().manual_seed(0)
    mean, deviation = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 1.0, 2.0])
    examples = mean + deviation * torch.randn(40_000, 5, 3, generator=generator)
    square, variance = estimates(examples[:, :2].mean(1).norm(dim=-1), examples.mean(1).norm(dim=-1), (2, 5))
    assert square.mean().item() == pytest.approx(mean.square().sum().item(), rel=0.02)
    assert variance.mean().item() == pytest.approx(deviation.square().sum().item(), rel=0.02)


def test_the_noise_scale_is_the_ratio_of_means_and_null_where_one_is_not_positive() -> None:
    steps = [(0.0, 0.0, 1.0, 6.0), (0.0, 0.0, 3.0, 10.0)]
    assert noise_of(steps) == {"noise_scale": 4.0, "grad_variance": 8.0, "grad_square": 2.0}
    assert noise_of([(0.0, 0.0, -1.0, 6.0)])["noise_scale"] is None
    assert noise_of([(0.0, 0.0)]) == {}


def test_the_noise_scale_is_in_the_lines_only_where_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with_noise = lines(trained(tmp_path, log__noise_scale=True, speed__micro_batch=2))
    without = lines(trained(tmp_path / "other", speed__micro_batch=2))
    assert all(math.isfinite(row["grad_square"]) and math.isfinite(row["grad_variance"]) for row in with_noise)
    assert not any("noise_scale" in row for row in without)
    assert [row["loss"] for row in with_noise] == [row["loss"] for row in without]
