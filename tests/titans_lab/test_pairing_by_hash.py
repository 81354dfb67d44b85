"""What a run draws follows from named facts alone, by hashes: whatever was drawn before, and however it is read."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
import torch
from every_task import every_task, run_of, trainer_of

from titans_lab.store.folder import RunFolder
from titans_lab.tasks.task import Batch, build_task


def digest(batch: Batch) -> str:
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in batch)).hexdigest()


@pytest.mark.parametrize("task", every_task())
def test_a_batch_follows_from_data_seed_step_length_and_global_batch_alone(task: str, tmp_path: Path):
    config = run_of(task, tmp_path)
    other = run_of(task, tmp_path, speed__micro_batch=1, train__lr=1.0, train__max_grad_norm=9.0, log__every=1)
    steps = random.sample(range(20), 3)
    first = {step: digest(build_task(config, 5).sample(step)) for step in steps}
    torch.manual_seed(1)
    again = build_task(other, 5)
    assert {step: digest(again.sample(step)) for step in reversed(steps)} == first
    assert len(set(first.values())) == 3
    assert digest(build_task(config, 6).sample(steps[0])) != first[steps[0]]


def test_initial_values_follow_from_the_seed_and_the_names_of_tensors_alone(tmp_path: Path):
    values = []
    for number, changes in enumerate(({"model__n_layers": 1}, {"model__n_layers": 2, "speed__micro_batch": 1})):
        torch.manual_seed(number)
        trainer = trainer_of(run_of("text", tmp_path, **changes), RunFolder(tmp_path / str(number)).new_attempt())
        values.append({name: digest((tensor,)) for name, tensor in trainer.model.state_dict().items()})
    few, many = values
    assert few.keys() < many.keys()
    assert few.items() <= many.items()
    matrices = {many[name] for name in many if name.endswith("weight") and ".mixer." in name}
    assert len(matrices) > 2  # each its own
