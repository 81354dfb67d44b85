"""lm-eval's tasks as evaluations of a finished run. Each has an id and is recorded once. Needs no torch."""

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

#: A version that is raised when the numbers of the same evaluation change.
VERSION = 1


@dataclass(frozen=True)
class TaskRequest:
    """A task to evaluate.

    Attributes:
        task: lm-eval's name of the task.
        data: The folder with its rows. None: the Hugging Face hub.
        limit: The number of rows to use, from the start. None: all rows.
    """

    task: str
    data: str | None
    limit: int | None = None


@dataclass(frozen=True)
class TaskResult:
    """The result of a task.

    Attributes:
        asked: The task.
        evaluation: The id under which the store has it.
        recorded: Whether the store had the result already.
        rows: Its rows of the view `evals`.
    """

    asked: TaskRequest
    evaluation: str
    recorded: bool
    rows: Sequence[Mapping[str, Any]]

    @property
    def figures(self) -> dict[tuple[str, str], float]:
        """Return the values by task and metric."""
        return {(self.asked.task, row["metric"]): row["value"] for row in self.rows}


def task_names(given: Sequence[str]) -> list[str]:
    """Return lm-eval's names of some tasks. UserError for a task that is not in the paper's table."""
    names = [ALIASES.get(name, name) for name in given]
    for name in names:
        if name not in TASKS:
            raise UserError(f"--task: {name!r} is not needle, babilong or paper, nor one of {', '.join(TASKS)}")
    return list(dict.fromkeys(names))


def source(asked: TaskRequest) -> tuple[str, str]:
    """Return the split of a task and the digest of its data: a file's SHA-256, or "hub". Raise UserError without one.

    The hub's data may change without a change of name. lm-eval reports that by the version of its task.
    """
    if asked.data is None:
        return "hub", "hub"
    path, split = find(asked.task, Path(asked.data))
    return split, file_digest(path, "--data", "a file of rows")


def evaluation_id(run_id: str, asked: TaskRequest, digest: str, harness: str) -> str:
    """Return the id of an evaluation: 16 hexadecimal digits over run, task, data and versions, with lm-eval's."""
    facts = {
        "run": run_id,
        "asked": {"task": asked.task, "limit": asked.limit},
        "data": digest,
        "versions": titans.VERSIONS | {"harness": VERSION, "lm_eval": harness},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def ask(store: Store, run_id: str, asked: Sequence[TaskRequest], device: Device) -> Iterator[TaskResult]:
    """Yield the result of each task, recorded or from a process with torch.

    Raises:
        UserError: The data cannot be used, or lm-eval is not installed.
        EndedEarly: The process broke.
    """
    for each in asked:
        source(each)  # raises before anything is computed
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
            yield TaskResult(each, answer["evaluation"], answer["recorded"], answer["rows"])
