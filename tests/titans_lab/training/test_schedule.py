"""Batches of a run that is trained by a schedule of lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from every_task import STEPS, WITH_A_SCHEDULE, run_of, scheduled

from titans_lab.tasks.task import build_task


@pytest.mark.parametrize("word", ["then", "or"])
@pytest.mark.parametrize("task", WITH_A_SCHEDULE)
def test_a_batch_is_that_of_a_run_of_its_length(task: str, word: str, tmp_path: Path) -> None:
    config = scheduled(task, tmp_path, word)
    found = build_task(config, 5)
    for step in range(STEPS):
        length = config.train.length(step)
        batch = found.at_length(config, 5, length).sample(step)
        alone = build_task(config.at_length(length), 5).sample(step)
        assert all(torch.equal(x, y) for x, y in zip(batch, alone, strict=True))
        if task != "genome":  # whose sequences are as long as they are
            assert batch[0].numel() == config.train.step_tokens


def test_validation_and_diagnostics_have_sequences_of_the_last_length(tmp_path: Path) -> None:
    task, usual = (build_task(config, 5) for config in (scheduled("text", tmp_path), run_of("text", tmp_path)))
    assert torch.equal(task.inputs(64), usual.inputs(64))
    assert task.inputs(64).shape == (2, 32)
