from __future__ import annotations

import gzip
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clocks import without_clocks
from torch import nn
from variants import VARIANTS, of_variant
from workbench import TEXT, Workbench

from titans.models.inspection import MemoryDiagnostics, inspect
from titans.models.language_model import LanguageModel
from titans_lab.run.config import TrainConfig
from titans_lab.store.logs import CHECK
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import build_task
from titans_lab.training.optimiser import learning_rate, optimizer_for
from titans_lab.training.train import Diverged, Trainer

Train = Callable[..., Trainer]


@pytest.fixture
def trainer(tmp_path: Path) -> Train:
    """trainer("train.lr=1e-2", ...): a new attempt at such a run, in this process."""
    bench = Workbench.at(tmp_path)

    def make(*overrides: str) -> Trainer:
        [run] = bench.runs(*overrides)
        attempt = bench.recorded(*overrides).new_attempt()
        task = build_task(run.config, run.seed)
        return Trainer(run.config, run.seed, task, torch.device("cpu"), Recorder(attempt, {}))

    return make


def rows(trainer: Trainer, log: str = "metrics") -> list[dict[str, Any]]:
    lines = map(json.loads, trainer.recorder.attempt.lines_path(log).read_text().splitlines())
    return [{name: value for name, value in line.items() if name != CHECK} for line in lines]


@pytest.mark.parametrize(
    ("steps", "warmup", "rise"), [(100, 0.1, 10), (7, 0.5, 4), (1, 0.1, 1), (50, 0.0, 1), (20, 1.0, 20)]
)
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(steps: int, warmup: float, rise: int):
    config = TrainConfig(tokens=steps, seq_len=1, batch_size=1, lr=0.5, warmup_ratio=warmup, min_lr_ratio=0.2)
    rates = [learning_rate(config, step) for step in range(steps)]
    assert rates[:rise] == pytest.approx([0.5 * (step + 1) / rise for step in range(rise)])
    falling = rates[rise - 1 :]
    assert falling == sorted(falling, reverse=True)
    assert rates[-1] >= 0.5 * 0.2
    assert learning_rate(config, steps) == pytest.approx(0.5 * 0.2 if rise < steps else 0.5)


def test_the_rate_falls_along_half_a_cosine():
    config = TrainConfig(tokens=101, seq_len=1, batch_size=1, lr=1.0, warmup_ratio=1 / 101, min_lr_ratio=0.1)
    assert learning_rate(config, 51) == pytest.approx(0.55)
    assert learning_rate(config, 26) == pytest.approx(0.55 + 0.45 * math.cos(math.pi / 4))


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_decay_but_not_gains_biases_and_embeddings(variant: Any):
    model = LanguageModel(of_variant(variant, dim=16, n_layers=1, n_heads=2))
    decayed, rest = optimizer_for(model, TrainConfig(weight_decay=0.3, lr=0.01, beta1=0.8, beta2=0.99)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kept = {names[id(parameter)] for parameter in rest["params"]}
    assert kept == {name for name, p in model.named_parameters() if p.ndim == 1} | {"embedding.weight"}
    assert len(decayed["params"]) + len(rest["params"]) == len(names)
    assert "head.weight" in {names[id(parameter)] for parameter in decayed["params"]}
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    assert decayed["lr"] == rest["lr"] == 0.01
    assert decayed["betas"] == rest["betas"] == (0.8, 0.99)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_lowers_the_loss_on_a_text_that_repeats_itself(trainer: Train, precision: str):
    some = trainer("train.tokens=6400", "train.lr=3e-2", f"train.precision={precision}", "log.every=10")
    summary = some.run()
    losses = [row["loss"] for row in rows(some)]
    assert losses[0] > 5 > 2 > losses[-1] == summary["train_loss"]
    assert summary["loss"] < 3


def test_the_same_run_twice_gives_the_same_numbers_to_the_last_bit(trainer: Train):
    first, second = trainer("model.variant=mag"), trainer("model.variant=mag")
    torch.manual_seed(1)
    ends = [without_clocks(first.run())]
    torch.manual_seed(2)
    ends.append(without_clocks(second.run()))
    assert ends[0] == ends[1]
    assert list(map(without_clocks, rows(first))) == list(map(without_clocks, rows(second)))
    assert without_clocks(trainer("model.variant=mag", "seeds=[1]").run()) != ends[0]


def test_how_often_a_run_is_logged_and_validated_does_not_change_its_numbers(trainer: Train):
    ends = [without_clocks(trainer(*log).run()) for log in (["log.every=1"], ["log.every=4", "log.valid_every=1"])]
    assert ends[0]["loss"] == ends[1]["loss"]


@pytest.mark.parametrize(("variant", "precision"), [("mac", "float32"), ("lmm", "bfloat16")])
def test_looking_inside_changes_no_number(trainer: Train, variant: str, precision: str):
    usual = ("log.every=1", f"model.variant={variant}", f"train.precision={precision}", "model.memory.depth=2")
    looked, alone = trainer(*usual, "log.memory_every=2"), trainer(*usual)
    ends = [without_clocks(each.run()) for each in (looked, alone)]
    assert ends[0] == ends[1]
    assert list(map(without_clocks, rows(looked))) == list(map(without_clocks, rows(alone)))
    weights = [each.model.state_dict() for each in (looked, alone)]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())
    assert rows(looked, "memory")
    assert not alone.recorder.attempt.lines_path("memory").exists()


def test_the_insides_are_recorded_on_the_way_and_at_the_end(trainer: Train):
    some = trainer("train.tokens=320", "log.memory_every=2", "log.memory_tokens=80", "model.n_layers=2")
    some.run()
    assert [row["step"] for row in rows(some)] == [2, 3, 4, 5]
    found = rows(some, "memory")
    assert [(row["step"], row["tokens"]) for row in found[::40]] == [(2, 128), (4, 256), (5, 320)]
    places = itertools.product([0, 1], [None, 0], [0, 1], [None, 0, 8, 16, 24])
    assert {(row["block"], row["layer"], row["head"], row["position"]) for row in found[:40]} == set(places)
    figures = inspect(some.model, torch.from_numpy(some.task.corpus.valid[:64].astype(int)).unflatten(0, (2, 32)))
    for row in found[80:]:
        inside, head, layer = figures[row["block"]], row["head"], row["layer"]
        place = slice(None) if row["position"] is None else slice(row["position"], row["position"] + 8)
        if layer is None:
            means = {"loss": inside.loss[:, head, place].mean().item()}
        else:
            means = {
                name: getattr(inside, name)[:, layer, head, place].mean().item()
                for name in MemoryDiagnostics._fields[1:]
            }
        assert row.keys() == {"step", "tokens", "block", "layer", "head", "position", *means}
        assert {name: row[name] for name in means} == pytest.approx(means, rel=1e-5)


def test_long_windows_are_recorded_in_few_segments(trainer: Train):
    long = ("train.seq_len=300", "train.batch_size=1", "train.tokens=300", "model.memory.chunk_size=2")
    some = trainer(*long, "log.memory_every=5", "log.memory_tokens=299")
    some.run()
    assert sorted({row["position"] or 0 for row in rows(some, "memory")}) == list(range(0, 200, 4))


def test_a_model_without_memory_has_nothing_to_record(trainer: Train):
    some = trainer("model.variant=transformer", "log.memory_every=2")
    some.run()
    assert rows(some, "memory") == []


def test_a_layer_that_is_not_written_and_a_ruined_model_have_nulls(trainer: Train):
    memory = ("model.memory.depth=2", "model.memory.written=last", "log.memory_every=2")
    whole, ruined = trainer(*memory), trainer(*memory, "train.lr=1e30", "train.tokens=64")
    whole.run()
    of_layers = [row for row in rows(whole, "memory") if row["layer"] is not None]
    assert {(row["layer"], row["gradient_norm"] is None, row["weight_norm"] is None) for row in of_layers} == {
        (0, True, False), (1, False, False),
    }  # fmt: skip
    with pytest.raises(Diverged, match="the test loss"):
        ruined.run()
    assert {row.get("gradient_norm") for row in rows(ruined, "memory")} == {None}


def test_runs_of_other_models_see_the_same_batches_and_those_of_other_seeds_do_not(trainer: Train):
    one, other = trainer("train.lr=1"), trainer("model.variant=transformer", "model.dim=32")
    assert all(torch.equal(one.task.sample(step)[0], other.task.sample(step)[0]) for step in range(4))
    assert not torch.equal(one.task.sample(0)[0], trainer("seeds=[1]").task.sample(0)[0])


@pytest.mark.parametrize(
    ("log", "steps", "validated"),
    [
        (["log.every=3"], [3, 6, 7], []),
        (["log.every=7"], [7], []),
        (["log.every=100"], [7], []),
        (["log.every=1"], [1, 2, 3, 4, 5, 6, 7], []),
        (["log.every=3", "log.valid_every=2"], [2, 3, 4, 6, 7], [2, 4, 6]),
        (["log.every=5", "log.valid_every=7"], [5, 7], [7]),
    ],
)
def test_the_lines_cover_every_step(trainer: Train, log: list[str], steps: list[int], validated: list[int]):
    some = trainer("train.tokens=448", *log)
    summary = some.run()
    found = rows(some)
    assert [row["step"] for row in found] == steps
    assert [row["tokens"] for row in found] == [64 * step for step in steps]
    assert [row["step"] for row in found if row["valid_loss"] is not None] == validated
    assert [row["lr"] for row in found] == [learning_rate(some.config.train, step - 1) for step in steps]
    assert (summary["steps"], summary["tokens"]) == (7, 448)
    assert all(row["grad_norm"] > 0 and row["tokens_per_second"] > 0 and row["step_seconds"] > 0 for row in found)
    elapsed = [row["elapsed_seconds"] for row in found]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] <= summary["wall_seconds"]


def test_a_line_has_the_mean_loss_of_its_steps(trainer: Train):
    single, several = trainer("train.tokens=320", "log.every=1"), trainer("train.tokens=320", "log.every=3")
    single.run()
    several.run()
    losses = [row["loss"] for row in rows(single)]
    means = [sum(losses[:3]) / 3, sum(losses[3:]) / 2]
    assert [row["loss"] for row in rows(several)] == pytest.approx(means, rel=1e-12)


def test_a_budget_pays_for_whole_steps_alone(trainer: Train):
    summary = trainer("train.tokens=319").run()
    assert (summary["steps"], summary["tokens"]) == (4, 256)


def test_a_validation_on_the_way_is_on_a_part_and_the_last_on_the_whole(trainer: Train):
    part, whole = (trainer("log.valid_every=4", f"log.valid_bytes={size}") for size in (40, len(TEXT)))
    losses = [(each.run()["loss"], rows(each)[-1]["valid_loss"]) for each in (part, whole)]
    assert losses[0][0] == losses[1][0] == losses[1][1]
    assert losses[0][1] != losses[0][0]


def test_the_gradient_is_clipped_and_its_norm_logged_as_it_was(trainer: Train):
    clipped, free = (
        trainer("train.max_grad_norm=1e-30", "train.tokens=64"),
        trainer("train.max_grad_norm=1e9", "train.tokens=64"),
    )
    for each in (clipped, free):
        each.run()
    assert rows(clipped)[0]["grad_norm"] == rows(free)[0]["grad_norm"] > 1e-3
    left = [nn.utils.get_total_norm([p.grad for p in each.model.parameters()]) for each in (clipped, free)]
    assert left[0] <= 1e-29
    assert left[1].item() == pytest.approx(rows(free)[0]["grad_norm"])


def test_each_step_has_a_gradient_of_its_own(trainer: Train, tmp_path: Path):
    (tmp_path / "constant.txt").write_bytes(b"a" * 2000)
    still = trainer(f"data.path={tmp_path / 'constant.txt'}", "train.lr=1e-30", "log.every=1")
    still.run()
    norms = [row["grad_norm"] for row in rows(still)]
    assert norms == pytest.approx([norms[0]] * 4)


def test_a_loss_that_is_not_finite_ends_the_run_and_is_logged(trainer: Train):
    some = trainer("train.lr=1e30", "train.tokens=640", "log.every=4", "log.valid_every=2")
    with pytest.raises(Diverged, match="the loss of step 2 is not finite") as caught:
        some.run()
    assert caught.value.step == 2
    [row] = rows(some)
    assert (row["step"], row["tokens"], row["valid_loss"]) == (2, 128, None)
    assert not math.isfinite(row["loss"])
    summary = some.summary(caught.value.step)
    assert (summary["steps"], summary["tokens"]) == (2, 128)
    assert not math.isfinite(summary["train_loss"])


def test_a_run_whose_last_step_ruins_the_model_has_diverged(trainer: Train):
    some = trainer("train.lr=1e30", "train.tokens=64")
    with pytest.raises(Diverged, match="the test loss of step 1 is not finite"):
        some.run()
    assert math.isfinite(rows(some)[-1]["loss"])


def test_throughput_is_the_median_without_the_first_line(trainer: Train):
    some = trainer()
    some.rates = [1.0, 30.0, 10.0, 20.0]
    assert some.summary(4)["tokens_per_second"] == 20.0
    some.rates = [1.0]
    assert some.summary(4)["tokens_per_second"] == 1.0
    some.rates = []
    assert some.summary(0)["tokens_per_second"] is None


@pytest.mark.parametrize("variant", ["lmm", "mac"])
def test_recomputation_changes_no_number_of_a_run(trainer: Train, variant: str):
    ends = [
        without_clocks(trainer(f"model.variant={variant}", *speed).run()) for speed in ([], ["speed.recompute=true"])
    ]
    assert ends[0] == ends[1]


def test_utilisation_is_the_share_of_a_plain_products_rate(trainer: Train):
    some = trainer("log.every=1")
    summary = some.run()
    assert 0 < summary["utilisation"] < 1
    flops = summary["tokens_per_second"] * some.flops_per_token
    assert summary["utilisation"] == pytest.approx(flops / some.product_rate)
    assert all(row["utilisation"] > 0 for row in rows(some))


def test_a_profile_is_written_on_request_and_changes_no_number(trainer: Train):
    long = "train.tokens=640"
    some, alone = trainer(long, "speed.profile=2"), trainer(long)
    assert without_clocks(some.run()) == without_clocks(alone.run())
    folder = some.recorder.attempt.path
    events = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))["traceEvents"]
    # two steps, each over the text and the persistent tokens
    assert sum(event["name"] == "MemoryScanBackward" for event in events) == 2 * 2
    assert "MemoryScan" in (folder / "profile.txt").read_text()
    assert not (alone.recorder.attempt.path / "profile.txt").exists()
