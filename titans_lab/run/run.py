"""A run of a study: its configuration, its seed and its id, and its record in the store."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from titans.models.config import flatten
from titans_lab.errors import UserError
from titans_lab.plugins.loading import plugins_of
from titans_lab.run.config import Impossible, RunConfig, build, plain
from titans_lab.run.derived import costs
from titans_lab.run.identity import run_facts, versions
from titans_lab.run.origin import Parent
from titans_lab.run.values import endings, label
from titans_lab.tasks.settings import TaskSettings

#: The sections and keys that decide a seed's batches, together with the content of the data.
BATCHES = ("data.", "task.", "train.seq_len", "train.batch_size", "train.schedule")


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        run_id: The id, 16 hexadecimal digits: equal for equal runs of any study.
        config: The configuration.
        seed: The seed of the initial parameters and batches.
        data_hash: The hash of the data's content.
        factors: The study's varied keys, dotted, and this run's values. "study" and "arm" hold names.
        solved: The values that `hold` found for it, by dotted key.
        deviation: The deviation from the held cost, as a share. None: no cost is held.
        baseline: Whether it belongs to the arm that others are compared with.
        parent: The run whose weights it begins with. None: its seed draws the initial values.
    """

    run_id: str
    config: RunConfig
    seed: int
    data_hash: str
    factors: dict[str, Any]
    solved: dict[str, Any] = field(default_factory=dict)
    deviation: float | None = None
    baseline: bool = False
    parent: Parent | None = None

    @property
    def label(self) -> str:
        """Return the values in which it differs from the study's other runs, such as "memory.depth=2 seed=0"."""
        return f"{label(self.factors)} seed={self.seed}".lstrip()


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return the label of each run by id: the values in which it differs from others, by their shortest keys."""
    ends = endings({key for run in runs for key in run.factors})
    return {
        run.run_id: f"{label({ends[key]: value for key, value in run.factors.items()})} seed={run.seed}".lstrip()
        for run in runs
    }


def parents_first(runs: Sequence[Run]) -> list[Run]:
    """Return runs in the same order, but each behind its parent where that is one of them."""
    known = {run.run_id: run for run in runs}
    found: dict[str, Run] = {}
    for run in runs:
        line, each = [], known.get(run.run_id)
        while each and each.run_id not in found:
            line.append(each)
            each = known.get(each.parent.run_id) if each.parent else None
        found |= {each.run_id: each for each in reversed(line)}
    return list(found.values())


def batches(run: Run) -> tuple[object, ...]:
    """Return the values that decide batches: runs with equal ones and equal seeds have the same batch at each step."""
    known = run_facts(run.config)
    if run.parent and run.parent.goes_on:  # its batches are those behind the parent's last step
        known = {**known, "data.step": run.parent.run_id if run.parent.steps is None else run.parent.steps}
    if run.config.train.schedule:  # its parts are shares of the steps
        known = {**known, "train.schedule": (run.config.train.schedule, run.config.train.steps)}
    return run.data_hash, *(item for item in known.items() if item[0].startswith(BATCHES))


def record_of(run: Run, data_source: str) -> dict[str, Any]:
    """Return a run's record for the worker, as plain data with absolute paths."""
    config = plain(run.config)
    for section, name in _paths(config, run.config):
        section[name] = str(Path(section[name]).absolute())
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "data_hash": run.data_hash,
        "data_source": data_source,
        "parent": run.parent and run.parent.run_id,
        "steps_before": run.parent and run.parent.steps,
        "config": config,
        "versions": versions(run.config),
        "plugins": plugins_of(run.config.model.mixers, run.config.task.name),
        **metric_columns(run.config.task.settings),
        **costs(run.config),
    }


def portable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's record that says nothing about where the data are on this machine: see `portable_path`."""
    config = copy.deepcopy(dict(record["config"]))
    for section, name in _paths(config, config_of({**record})):
        section[name] = portable_path(section[name])
    return {**record, "config": config, "data_source": portable_path(record["data_source"])}


def portable_path(text: str) -> str:
    """Return a path relative to the working directory. Of an absolute path that is not below it, the name is left."""
    path = Path(text)
    if not path.is_absolute():
        return text
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def _paths(record: dict[str, Any], config: RunConfig) -> list[tuple[dict[str, Any], str]]:
    """Return the section and the key of each path of a configuration as plain data."""
    places = [(record["data"], name) for name in ("path", "valid_path", "test_path")]
    places += [(record["task"][config.task.name], name) for name in config.task.settings.PATHS]
    return [(section, name) for section, name in places if section[name] is not None]


def metric_columns(task: TaskSettings) -> dict[str, str]:
    """Return name, unit and direction of a task's metric, as columns of the view `runs`."""
    return {"metric": task.METRIC.name, "unit": task.METRIC.unit, "direction": task.METRIC.direction}


def config_in(text: str | None) -> RunConfig | None:
    """Return the configuration of a record in JSON.

    Return None where this process does not know it, because a later version or a plugin that is not loaded wrote it.
    """
    try:
        return _config_in(text) if text else None
    except (ValueError, TypeError, KeyError, AttributeError):  # the values of a record may be of any type
        return None


@lru_cache(maxsize=20_000)  # the seeds of an arm share their configuration
def _config_in(text: str) -> RunConfig:
    return config_of({"config": json.loads(text)})


def config_of(record: dict[str, Any]) -> RunConfig:
    """Return the configuration of a recorded run, without fields that this version does not have.

    Raises:
        UserError: This version does not know the configuration, or it needs plugins that are not loaded.
    """
    try:
        return build(RunConfig, dict(flatten(record["config"])))
    except Impossible as error:
        run, missing = record.get("run_id"), record.get("plugins")
        remedy = (
            f"the run used the plugins {', '.join(missing)}; load them by --with-plugin PATH --allow-plugins"
            if missing
            else "another version of titans-lab may have recorded it"
        )
        raise UserError(f"run {run}: {error}; {remedy}" if run else f"{error}; {remedy}") from error
