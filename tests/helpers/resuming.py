"""Train runs that are stopped on their way and resumed, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clocks import without_clocks
from every_task import trainer_of

from titans_lab.run.config import RunConfig
from titans_lab.store.folder import RunFolder
from titans_lab.training.train import Stopped, Trainer

LOGS = ("metrics", "memory", "evals")


def after(steps: int) -> Callable[[], tuple[str, str] | None]:
    """Asks for an end when a training has taken so many steps from where it began."""
    asked = iter([None] * steps)
    return lambda: next(asked, ("cancelled", "enough"))


def lines(trainer: Trainer, log: str) -> list[dict[str, Any]]:
    path = trainer.recorder.attempt.lines_path(log)
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [without_clocks(row) for row in rows]


def numbers(trainer: Trainer, summary: dict[str, Any]) -> dict[str, Any]:
    """All that a run says and leaves, but times."""
    weights = {name: tensor.tolist() for name, tensor in trainer.model.state_dict().items()}
    return without_clocks(summary) | {log: lines(trainer, log) for log in LOGS} | {"weights": weights}


def unbroken(config: RunConfig, folder: Path) -> dict[str, Any]:
    trainer = trainer_of(config, RunFolder(folder / "unbroken").new_attempt())
    return numbers(trainer, trainer.run())


def stopped(config: RunConfig, run: RunFolder, steps: int) -> Trainer:
    """An attempt that takes so many steps more."""
    trainer = trainer_of(config, run.new_attempt())
    trainer.should_stop = after(steps)
    with pytest.raises(Stopped, match="enough"):
        trainer.run()
    return trainer


def ended(config: RunConfig, run: RunFolder) -> dict[str, Any]:
    """An attempt that nobody stops."""
    trainer = trainer_of(config, run.new_attempt())
    return numbers(trainer, trainer.run())
