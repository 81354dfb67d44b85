"""Optimizers, learning rates and weight decay: what each does to which parameter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from every_task import run_of
from torch import nn
from variants import VARIANTS, of_variant

from titans.models.language_model import LanguageModel
from titans_lab.errors import UserError
from titans_lab.run.config import TrainConfig
from titans_lab.run.derived import trained_numbers
from titans_lab.tasks.task import build_task
from titans_lab.training.optimiser import MuonWithAdamW, learning_rate, optimizer_for
from titans_lab.training.replica import Replica

TINY = {"vocab_size": 7, "dim": 8, "n_layers": 1, "n_heads": 2}


def rates(**values: Any) -> list[float]:
    """The rates of a hundred steps, of which ten raise the rate to 1."""
    config = TrainConfig(tokens=100, seq_len=1, batch_size=1, lr=1.0, warmup_ratio=0.1, **values)
    return [learning_rate(config, step) for step in range(100)]


def test_a_constant_rate_stays_at_its_peak() -> None:
    assert rates(lr_schedule="constant", min_lr_ratio=0.2)[9:] == [1.0] * 91


def test_a_linear_rate_falls_in_equal_steps_to_one_step_before_its_end() -> None:
    falling = rates(lr_schedule="linear", min_lr_ratio=0.1)[10:]
    assert falling == pytest.approx([0.1 + 0.9 * (90 - step) / 90 for step in range(90)])


def test_wsd_stays_at_the_peak_and_falls_over_the_last_part() -> None:
    found = rates(lr_schedule="wsd", decay_ratio=0.2, min_lr_ratio=0.0)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert found[9:81] == [1.0] * 72
    assert found[80:] == pytest.approx([(20 - step) / 20 for step in range(20)])
    assert rates(lr_schedule="wsd", decay_ratio=0.0)[9:] == [1.0] * 91


@pytest.mark.parametrize("variant", VARIANTS)
def test_muon_updates_the_linear_layers_of_the_blocks_and_adamw_the_rest(variant: Any) -> None:
    model = LanguageModel(of_variant(variant, **TINY))
    optimizer = optimizer_for(model, TrainConfig(optimizer="muon", weight_decay=0.3, momentum=0.8, beta1=0.7))
    assert isinstance(optimizer, MuonWithAdamW)
    names = {id(p): name for name, p in model.named_parameters()}
    muon, adamw = (
        {names[id(p)] for group in part.param_groups for p in group["params"]}
        for part in (optimizer.muon, optimizer.adamw)
    )
    assert muon == {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith("blocks.")
    }
    assert not muon & adamw
    assert muon | adamw == set(names.values()) >= {"embedding.weight", "head.weight"}
    assert {group["momentum"] for group in optimizer.muon.param_groups} == {0.8}
    assert {group["betas"] for group in optimizer.adamw.param_groups} == {(0.7, 0.95)}
    assert {group["weight_decay"] for group in optimizer.muon.param_groups if group["params"]} == {0.3}


def test_the_first_step_of_muon_is_an_orthogonal_matrix_as_large_as_adamws() -> None:
    """Its singular values are near 0.2 sqrt(8), so that the mean square of its elements is near that of AdamW's."""
    model = LanguageModel(of_variant("transformer", **TINY))
    optimizer = optimizer_for(model, TrainConfig(optimizer="muon", weight_decay=0.0, lr=1.0))
    weight = model.blocks[0].mixer.attention.q.weight  # type: ignore[union-attr]
    before = weight.detach().clone()  # type: ignore[operator]
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    values = torch.linalg.svdvals(before - weight) / (0.2 * math.sqrt(8))
    assert ((values > 0.5) & (values < 1.3)).all()


def test_sgd_goes_along_the_gradient_with_momentum_and_a_penalty() -> None:
    model = nn.Linear(2, 2, bias=False)
    optimizer = optimizer_for(model, TrainConfig(optimizer="sgd", momentum=0.5, weight_decay=0.1, lr=0.2))
    weight, momentum = model.weight.detach().double(), torch.zeros(2, 2, dtype=torch.float64)
    for gradient in (torch.ones(2, 2), torch.full((2, 2), -3.0)):
        model.weight.grad = gradient.clone()
        optimizer.step()
        momentum = 0.5 * momentum + gradient + 0.1 * weight
        weight = weight - 0.2 * momentum
    torch.testing.assert_close(model.weight.double(), weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_first_matching_pattern_decides_the_decay(optimizer: str) -> None:
    model = LanguageModel(of_variant("lmm", **TINY))
    groups = "blocks.0.feed_forward.up.*=0.5 *.feed_forward.*=0 embedding.*=0.25"
    made = optimizer_for(model, TrainConfig(optimizer=optimizer, weight_decay=0.1, decay_groups=groups))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    of = {name: decay[id(p)] for name, p in model.named_parameters()}
    assert of["blocks.0.feed_forward.up.weight"] == 0.5
    assert of["blocks.0.feed_forward.down.weight"] == 0.0
    assert of["embedding.weight"] == 0.25
    assert (of["head.weight"], of["norm.weight"]) == (0.1, 0.0)


@pytest.mark.parametrize("groups", ["haed.*=0", "head.*=0 head.weight=1"])
def test_a_pattern_that_decides_nothing_is_refused(groups: str) -> None:
    model = LanguageModel(of_variant("transformer", **TINY))
    pattern = groups.split()[-1].partition("=")[0]
    with pytest.raises(UserError, match=rf"train.decay_groups: {pattern} matches no parameter .* blocks.0.mixer_norm"):
        optimizer_for(model, TrainConfig(decay_groups=groups))


@pytest.mark.parametrize("values", [{"ema": 0.9}, {"momentum": 0.0}, {}])
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_predicted_numbers_of_a_training_are_those_that_it_holds(
    optimizer: str, values: dict[str, float], tmp_path: Path
) -> None:
    given = {f"train__{name}": value for name, value in values.items()}
    config = run_of("text", tmp_path, train__optimizer=optimizer, model__dim=32, **given)
    replica = Replica(config, 0, build_task(config, 0), torch.device("cpu"))
    replica.take_step()
    state = replica.state()
    parts = list(state["optimizer"].values()) if optimizer == "muon" else [state["optimizer"]]
    moments = [x for part in parts for entry in part["state"].values() for x in entry.values() if x is not None]
    held = sum(x.numel() for x in (*moments, *state["model"].values(), *state.get("average", {}).values()) if x.ndim)
    gradients = sum(p.numel() for p in replica.model.parameters())
    # Muon's prediction counts the few numbers of a block that are no weights of linear layers as such
    assert held + gradients == pytest.approx(trained_numbers(config), rel=0.03 if optimizer == "muon" else 0)
