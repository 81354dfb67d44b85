"""A run as it is written to the store, and its configuration read back from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import titans
from titans_lab.study import derived
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import build
from titans_lab.study.identity import VERSIONS, flatten
from titans_lab.study.study import Run, Study


def costs(config: RunConfig) -> dict[str, int]:
    """Parameters, training FLOPs a token and bytes of a stream's state, in closed form."""
    return {
        "parameters": derived.params(config),
        "flops_per_token": derived.flops_per_token(config),
        "state_bytes": derived.state(config),
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
        "versions": titans.VERSIONS | VERSIONS,
        **costs(run.config),
    }


def study_record(study: Study, runs: Sequence[Run], overrides: Sequence[str]) -> dict[str, Any]:
    """A study as a sweep launches it, as plain data."""
    return {
        "name": study.name,
        "path": str(study.path),
        "question": study.question,
        "expect": study.expect,
        "overrides": list(overrides),
        "metric": dataclasses.asdict(study.metric),
        "runs": [{"run_id": run.run_id, "factors": run.factors, "baseline": run.baseline} for run in runs],
    }


def config_of(record: dict[str, Any]) -> RunConfig:
    """The configuration of a recorded run; fields that this version does not have are left out."""
    return build(RunConfig, dict(flatten(record["config"])))
