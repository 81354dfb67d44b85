"""lm-eval's tasks as evaluations of a finished run: each has an id and is recorded once. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import titans
from titans_lab.data.remembered import file_digest
from titans_lab.errors import UserError
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.harness.rows import find
from titans_lab.harness.table import ALIASES, TASKS
from titans_lab.store.store import Store

#: Raised when the numbers that the same evaluation gives change.
VERSION = 1


@dataclass(frozen=True)
class Asked:
    """One task.

    Attributes:
        task: lm-eval's name of it.
        data: The folder that its rows are in; null: the hub.
        limit: Rows, from the start; null: all.
    """

    task: str
    data: str | None
    limit: int | None = None


@dataclass(frozen=True)
class Found:
    """What a task gave.

    Attributes:
        asked: The task.
        evaluation: The id under which it is recorded.
        recorded: It was there already.
        rows: Of the view `evals`.
    """

    asked: Asked
    evaluation: str
    recorded: bool
    rows: Sequence[Mapping[str, Any]]

    @property
    def figures(self) -> dict[tuple[str, str], float]:
        """By task and metric."""
        return {(self.asked.task, row["metric"]): row["value"] for row in self.rows}


def task_names(given: Sequence[str]) -> list[str]:
    """lm-eval's names for the tasks given. UserError for one that is not among those of the paper."""
    names = [ALIASES.get(name, name) for name in given]
    for name in names:
        if name not in TASKS:
            raise UserError(f"--task: {name!r} is not needle, babilong or paper, nor one of {', '.join(TASKS)}")
    return list(dict.fromkeys(names))


def source(asked: Asked) -> tuple[str, str]:
    """The split that is asked for, and what stands for its data: a file's SHA-256, or the hub. UserError: no such file.

    The hub's data may change under their name: that is lm-eval's to say, by the version of its task.
    """
    if asked.data is None:
        return "hub", "hub"
    path, split = find(asked.task, Path(asked.data))
    return split, file_digest(path, "--data", "a file of rows")


def evaluation_id(run_id: str, asked: Asked, digest: str, harness: str) -> str:
    """16 hexadecimal digits over the run, the task, its data and the versions, lm-eval's among them."""
    facts = {
        "run": run_id,
        "asked": {"task": asked.task, "limit": asked.limit},
        "data": digest,
        "versions": titans.VERSIONS | {"harness": VERSION, "lm_eval": harness},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def ask(store: Store, run_id: str, asked: Sequence[Asked], device: Device) -> Iterator[Found]:
    """Put each task to the run in a process with torch, or take what is recorded.

    Raises:
        UserError: The data do not serve, or lm-eval is not installed.
        EndedEarly: The process broke.
    """
    for each in asked:
        source(each)  # before anything is computed
    question = {
        "store": str(store.root.absolute()),
        "run": run_id,
        "asked": [dataclasses.asdict(each) for each in asked],
    }
    arguments, quiet = ["--device", device.kind], {"TQDM_DISABLE": "1"}  # which tqdm reads when it is imported
    with closing(answers("titans_lab.harness", arguments, question, device.environment() | quiet)) as given:
        for each, answer in zip(asked, given, strict=False):
            if "wrong" in answer:
                raise UserError(answer["wrong"])
            yield Found(asked=each, **answer)
