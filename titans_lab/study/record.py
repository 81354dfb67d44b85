"""A run as it is written to the store, and its configuration read back from there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from titans_lab.plugins.loading import plugins_of
from titans_lab.study import derived
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import build, plain
from titans_lab.study.identity import flatten, versions
from titans_lab.study.study import Run, Study
from titans_lab.tasks.settings import TaskSettings


def costs(config: RunConfig) -> dict[str, int]:
    """Parameters, training FLOPs a token and bytes of a stream's state, in closed form."""
    return {
        "parameters": derived.params(config),
        "flops_per_token": derived.flops_per_token(config),
        "state_bytes": derived.state(config),
    }


def record_of(run: Run, data_source: str) -> dict[str, Any]:
    """All that a worker needs to know of a run, as plain data; paths are made absolute."""
    config = plain(run.config)
    task = run.config.task
    places = [(config["data"], name) for name in ("path", "valid_path", "test_path")]
    places += [(config["task"][task.name], name) for name in task.settings.PATHS]
    for section, name in places:
        if section[name] is not None:
            section[name] = str(Path(section[name]).absolute())
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "data_hash": run.data_hash,
        "data_source": data_source,
        "config": config,
        "versions": versions(run.config),
        "plugins": plugins_of(run.config.model.mixers, run.config.task.name),
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
        "metric": study.metric and dataclasses.asdict(study.metric),
        "runs": [_run_facts(run) for run in runs],
    }


def _run_facts(run: Run) -> dict[str, Any]:
    """Return what a study says of one of its runs."""
    return {"run_id": run.run_id, "factors": run.factors, "solved": run.solved, "baseline": run.baseline}


def config_in(text: str | None) -> RunConfig | None:
    """Return the configuration that a run was recorded with, given as JSON.

    None where this process has no such configuration: a later version wrote it, or a plugin that is not loaded here.
    """
    try:
        return _config_in(text) if text else None
    except (ValueError, TypeError, KeyError, AttributeError):  # the values of a record may be of any type
        return None


@lru_cache(maxsize=20_000)  # the seeds of an arm share their configuration
def _config_in(text: str) -> RunConfig:
    return config_of({"config": json.loads(text)})


def config_of(record: dict[str, Any]) -> RunConfig:
    """The configuration of a recorded run; fields that this version does not have are left out."""
    return build(RunConfig, dict(flatten(record["config"])))
