"""A run as it is written to the store, and its configuration read back from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from titans.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import build
from titans_lab.study.identity import flatten, versions
from titans_lab.study.study import Run, Study
from titans_lab.study.tasks.settings import TaskSettings
from titans_lab.study.tasks.text import TextSettings

TRAINING = 6  # FLOPs of a multiply-add, forward and backward


def costs(config: RunConfig) -> dict[str, int]:
    """Parameters, training FLOPs a token and bytes of a stream's state, in closed form."""
    model, train = config.model, config.train
    usual, ends = TextSettings().ends(model), config.task.settings.ends(model)
    return {
        "parameters": parameters(model) + ends.parameters - usual.parameters,
        "flops_per_token": train_flops_per_token(model, train.length, train.batch)
        + TRAINING * (ends.products - usual.products),
        "state_bytes": state_bytes(model, train.length),
    }


def record_of(run: Run, data_source: str) -> dict[str, Any]:
    """All that a worker needs to know of a run, as plain data; a path is made absolute."""
    config = dataclasses.asdict(run.config)
    if config["data"]["path"] is not None:
        config["data"]["path"] = str(Path(config["data"]["path"]).absolute())
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "data_hash": run.data_hash,
        "data_source": data_source,
        "config": config,
        "versions": versions(run.config),
        **metric_columns(run.config.task.settings),
        **costs(run.config),
    }


def metric_columns(task: TaskSettings) -> dict[str, str]:
    """What a run's score is: columns of the view `runs`."""
    return {"metric": task.METRIC.name, "unit": task.METRIC.unit, "direction": task.METRIC.direction}


def study_record(study: Study, runs: Sequence[Run], overrides: Sequence[str]) -> dict[str, Any]:
    """A study as a sweep launches it, as plain data."""
    return {
        "name": study.name,
        "path": str(study.path),
        "question": study.question,
        "expect": study.expect,
        "overrides": list(overrides),
        "runs": [{"run_id": run.run_id, "factors": run.factors} for run in runs],
    }


def config_of(record: dict[str, Any]) -> RunConfig:
    """The configuration of a recorded run; fields that this version does not have are left out."""
    return build(RunConfig, dict(flatten(record["config"])))
