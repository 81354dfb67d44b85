"""What a run can begin with: tensors of its own names and shapes, and an optimizer's state of its own parameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.data.corpus import Corpus
from titans_lab.errors import UserError
from titans_lab.run.config import LogConfig, RunConfig, TrainConfig
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.tasks.text.task import TextTask
from titans_lab.training.optimiser import learning_rate
from titans_lab.training.replica import Replica
from titans_lab.training.train import Stopped, Trainer
from titans_lab.training.weights import Beginning

CPU = torch.device("cpu")
CONFIG = RunConfig(
    model=ModelConfig(variant="lmm", dim=8, n_layers=1, n_heads=1, memory=MemoryConfig(depth=1, chunk_size=4)),
    train=TrainConfig(tokens=64, seq_len=8, batch_size=2),
    log=LogConfig(every=1),
)


class NotingTask(TextTask):
    """A text task that notes which steps were asked for."""

    def __init__(self) -> None:
        tokens = (np.arange(600) * 7 % 251).astype(np.uint8)
        super().__init__(Corpus("s", "d", tokens[:200], tokens[200:400], tokens[400:]), 0, 8, 2)
        self.asked: list[int] = []

    def sample(self, step: int) -> Any:
        self.asked.append(step)
        return super().sample(step)


def replica(beginning: Beginning | None = None, config: RunConfig = CONFIG) -> Replica:
    return Replica(config, 0, NotingTask(), CPU, beginning=beginning)


def ended(steps: int = 4) -> Replica:
    """A replica after some steps."""
    trained = replica()
    for _ in range(steps):
        trained.take_step()
    return trained


def beginning(trained: Replica, goes_on: bool = False) -> Beginning:
    state = trained.state()
    return Beginning(
        state["model"], "digest", goes_on * state["step"], state["optimizer"] if goes_on else None, "run p"
    )


def with_model(**changes: Any) -> RunConfig:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **changes))


def test_a_new_training_begins_with_the_weights_its_first_rate_and_its_first_batch():
    trained = ended()
    child = replica(beginning(trained))
    mine, theirs = child.model.state_dict(), trained.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    child.take_step()
    assert child.task.asked == [0]
    assert child.optimizer.param_groups[0]["lr"] == learning_rate(CONFIG.train, 0)
    assert next(iter(child.optimizer.state.values()))["step"] == 1


def test_a_training_that_goes_on_has_the_rates_and_the_batches_behind_the_last_step():
    child = replica(beginning(ended(), goes_on=True))
    child.take_step()
    assert child.task.asked == [4]
    longer = dataclasses.replace(CONFIG.train, tokens=2 * CONFIG.train.tokens)
    assert child.optimizer.param_groups[0]["lr"] == learning_rate(longer, 4) > learning_rate(CONFIG.train, 3)
    assert next(iter(child.optimizer.state.values()))["step"] == 5


def test_rates_of_a_training_in_two_parts_are_those_of_one():
    parts = TrainConfig(tokens=1600, seq_len=8, batch_size=2)
    whole = dataclasses.replace(parts, tokens=3200)
    assert [learning_rate(parts, step, before=100) for step in range(100)] == [
        learning_rate(whole, step) for step in range(100, 200)
    ]


def test_chunk_length_and_rates_may_change():
    model = dataclasses.replace(CONFIG.model, memory=MemoryConfig(depth=1, chunk_size=8))
    train = dataclasses.replace(CONFIG.train, lr=1e-4, seq_len=16, weight_decay=0.3)
    child = replica(beginning(ended(), goes_on=True), dataclasses.replace(CONFIG, model=model, train=train))
    child.take_step()
    assert child.optimizer.param_groups[0]["weight_decay"] == 0.3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 16}, r"tensor blocks\.0\.mixer_norm\.weight: run p has the shape \[8\], and this run has .* \[16\]"),
        ({"vocab_size": 300}, r"tensor embedding\.weight: run p has the shape \[256, 8\], .* \[300, 8\]"),
        ({"n_layers": 2}, r"tensor blocks\.1\..*: run p has none of this name, and this run has the shape"),
        ({"memory": MemoryConfig(depth=2, chunk_size=4)}, r"; and \d+ more tensors; set the keys of model"),
    ],
)
def test_shapes_may_not_change(changes: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        replica(beginning(ended(1)), with_model(**changes))


def test_a_state_of_other_shapes_is_refused_before_the_optimizer_uses_it():
    begin = beginning(ended(), goes_on=True)
    assert begin.optimizer
    first = begin.optimizer["state"][0]
    first["exp_avg"] = first["exp_avg"][:1]
    with pytest.raises(
        UserError, match=r"init\.weights_only: the parent's state is not of this run's optimizer \(exp_avg"
    ):
        replica(begin)


@pytest.mark.parametrize("state", [{}, {"state": {99: {"exp_avg": torch.zeros(1)}}}, {"state": []}])
def test_a_state_that_is_none_is_refused(state: dict[str, Any]):
    with pytest.raises(UserError, match="not of this run's optimizer"):
        replica(dataclasses.replace(beginning(ended(1)), optimizer=state | {"param_groups": []}, steps=1))


def trainer(store: Store, begin: Beginning) -> Trainer:
    attempt = store.run("child").new_attempt()
    return Trainer(CONFIG, 0, NotingTask(), CPU, Recorder(attempt, {}), beginning=begin)


def test_a_stopped_child_resumes_with_the_same_bits_unless_its_parent_has_changed(tmp_path: Path):
    begin, store = beginning(ended(), goes_on=True), Store(tmp_path)
    straight = trainer(Store(tmp_path / "other"), begin)
    straight.run()
    first = trainer(store, begin)
    first.should_stop = lambda: ("cancelled", "enough") if first.step == 2 else None
    with pytest.raises(Stopped):
        first.run()
    second = trainer(store, begin)
    second.run()
    assert second.recorder.env["resumed_from"]["step"] == 2
    mine, theirs = second.model.state_dict(), straight.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    third = trainer(store, dataclasses.replace(begin, digest="another"))
    third.run()
    assert "resumed_from" not in third.recorder.env
