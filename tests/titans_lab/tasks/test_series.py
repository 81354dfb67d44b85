from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from draws import generator
from shared_data import shared

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.run.config import DataConfig, RunConfig, TaskConfig, TrainConfig
from titans_lab.run.derived import costs
from titans_lab.stats.forecast import errors, repeat_last
from titans_lab.tasks.series import MSE, SeriesSettings
from titans_lab.tasks.series.task import SeriesTask
from titans_lab.tasks.task import Score, build_task, judging, overall
from titans_lab.training.memory_diagnostics import memory_rows

CPU = torch.device("cpu")
MODEL = ModelConfig(variant="lmm", dim=8, n_layers=1, n_heads=2, memory=MemoryConfig(expansion=2, chunk_size=2))


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Two channels of noise, of which every value is different."""
    values = generator().normal(size=(120, 2))
    lines = ["date,a,b", *(f"2020-01-01,{a},{b}" for a, b in values.tolist())]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return str(tmp_path / "table.csv")


def config(path: str, length: int = 3, batch: int = 5, **settings: Any) -> RunConfig:
    task = TaskConfig("series", SeriesSettings(**({"look_back": 6, "horizon": 4, "linear": "learned"} | settings)))
    train = TrainConfig(tokens=1000, seq_len=length, batch_size=batch)
    return RunConfig(model=MODEL, data=DataConfig(path=path), task=task, train=train)


def built(path: str, seed: int = 3, **changes: Any) -> SeriesTask:
    task = build_task(config(path, **changes), seed)
    assert isinstance(task, SeriesTask)
    return task


def judged(task: SeriesTask, run: RunConfig, limit: int | None = None) -> list[Score]:
    model = task.model(run, 0)
    with judging(model):
        return task.evaluate(model, CPU, limit)


def test_a_batch_is_windows_of_the_training_part_and_follows_from_seed_and_step(table: str):
    task = built(table)
    past, future = task.sample(7)
    assert (past.shape, future.shape) == ((5, 6), (5, 4))
    whole = torch.cat((past, future), 1).numpy()
    rows = task.windows["train"].transpose(0, 2, 1).reshape(-1, 10)
    assert all((rows == window).all(1).any() for window in whole)
    assert torch.equal(built(table).sample(7)[0], past)
    others = (built(table, seed=4).sample(7), task.sample(8), built(table, batch=6).sample(7))
    assert not any(torch.equal(other[0][:5], past) for other in others)


def test_training_reads_nothing_that_is_tested(table: str):
    task = built(table)
    trained = torch.cat([torch.cat(task.sample(step), 1).flatten() for step in range(60)])
    assert not np.isin(task.windows["valid"][:, 6:].ravel(), trained.numpy()).any()
    assert not np.isin(task.windows["test"].ravel(), trained.numpy()).any()


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_an_untrained_model_errs_like_repeating_the_last_value(table: str, loss: str):
    run = config(table, loss=loss)
    task = built(table, loss=loss)
    found = overall(judged(task, run))
    expected = errors(repeat_last(4), task.windows["test"], 6)
    assert (found["mse"], found["mae"]) == pytest.approx(expected, rel=1e-5)
    wrong = np.abs(task.windows["test"][:, 6:] - task.windows["test"][:, 5:6])
    huber = np.where(wrong < 1, wrong**2 / 2, wrong - 0.5).mean()
    assert found["loss"] == pytest.approx({"mse": expected.mse, "mae": expected.mae, "huber": huber}[loss], rel=1e-5)


def test_a_run_with_ridge_begins_at_its_baseline_and_keeps_the_linear_part_fixed(table: str):
    run = config(table, linear="ridge", loss="mse")
    task = built(table, linear="ridge", loss="mse")
    found = {
        score.baseline: score.value for score in judged(task, run) if score.split == "test" and score.metric == MSE
    }
    assert found[None] == pytest.approx(found["ridge"], rel=1e-5)
    assert found["ridge"] != found["repeat-last"]
    model = task.model(run, 0)
    task.losses(model, task.sample(0)).sum().backward()
    assert model.direct.weight.grad is None
    assert model.head.weight.grad.any()


def test_errors_without_a_cycle_are_those_of_the_series_itself(table: str):
    run = config(table, cycle=5, linear="ridge")
    task = built(table, cycle=5, linear="ridge")
    model = task.model(run, 0)
    profile = task.plain["test"] - task.windows["test"]
    past, future = profile[:, :6], profile[:, 6:]
    assert past.std() > 0.01
    with torch.no_grad():
        seen = torch.from_numpy((task.plain["test"][:, :6] - past)[..., 0].copy())
        forecast = model(seen).numpy() + future[..., 0]
    wrong = forecast - task.plain["test"][:, 6:, 0]
    np.testing.assert_allclose(wrong, model(seen).detach().numpy() - task.windows["test"][:, 6:, 0], atol=1e-5)
    found = {(s.baseline, s.metric): s.value for s in judged(task, run) if s.split == "test"}
    assert found[None, MSE] == pytest.approx(found["ridge-cycle", MSE], rel=1e-5)
    assert len({found[name, MSE] for name in ("repeat-last", "ridge", "ridge-cycle")}) == 3


def test_the_training_loss_is_the_mean_over_the_steps_to_forecast(table: str):
    task, run = built(table, loss="mse"), config(table, loss="mse")
    past, future = task.sample(0)
    loss = task.losses(task.model(run, 0), (past, future)).sum() / task.terms((past, future))
    assert loss.item() == pytest.approx((future - past[:, -1:]).square().mean().item(), rel=1e-5)


def test_the_final_evaluation_has_both_parts_and_baselines_and_earlier_ones_only_validation(table: str):
    task, run = built(table), config(table)
    rows = {(score.split, score.baseline, score.metric.name) for score in judged(task, run)}
    baselines = {("test", name, measure) for name in ("repeat-last", "ridge") for measure in ("mse", "mae")}
    own = {(split, None, measure) for split in ("valid", "test") for measure in ("loss", "mse", "mae")}
    assert rows == baselines | own
    assert {score.count for score in judged(task, run) if score.split == "test"} == {len(task.windows["test"]) * 2}
    few = judged(task, run, limit=12)
    assert {(score.split, score.count) for score in few} == {("valid", 2 * 2)}


def test_ett_is_judged_as_published():
    """Untrained, the model repeats the last value: the path that every run takes gives the published errors."""
    run = config(shared("ett/ETTh1.csv"), length=4, look_back=96, horizon=96)
    task = build_task(run, 0)
    scores = judged(task, run)  # type: ignore[arg-type]
    found = {(score.baseline, score.metric.name): score.value for score in scores if score.split == "test"}
    for baseline in (None, "repeat-last"):
        assert (found[baseline, "mse"], found[baseline, "mae"]) == pytest.approx((1.294, 0.713), abs=5e-4)
    assert found["ridge", "mse"] == pytest.approx(0.383, abs=5e-4)


def test_the_planned_parameters_and_digest_are_those_of_the_built_task(table: str):
    run, task = config(table), built(table)
    model = task.model(run, 0)
    assert costs(run)["parameters"] == sum(p.numel() for p in model.parameters())
    assert run.data_digest() == task.digest
    assert model(task.inputs(7)).shape == (2, 4)


def test_inside_the_memory_of_a_forecaster_positions_are_patches(table: str):
    task = built(table)
    rows = list(memory_rows(task.model(config(table), 0), task.inputs(9)))
    losses = {(row["head"], row["position"]): row["loss"] for row in rows if row["layer"] is None}
    assert losses.keys() == {(head, position) for head in (0, 1) for position in (None, 0, 2)}  # chunks of 2, of 3
    for head in (0, 1):
        whole, first, last = (losses[head, position] for position in (None, 0, 2))
        assert first > 0
        assert whole == pytest.approx((2 * first + last) / 3)
    assert {row["block"] for row in rows} == {0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 4}, r"^train\.seq_len: 4 patches do not divide task\.series\.look_back \(6\); set it to a divisor"),
        ({"path": None}, r"^data\.path: null, and the task series reads a CSV file; name one"),
        ({"horizon": 0}, r"^horizon: 0 is below 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(table: str, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        config(**({"path": table} | changes))
