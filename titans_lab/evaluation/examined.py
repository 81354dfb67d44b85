"""The common part of processes that evaluate a finished run: requests on standard input, answers in lines of JSON.

The input is JSON with the keys `store`, `run` and `asked`, a list. For each item a line is written with the keys
`evaluation`, `recorded` and `rows`, or `wrong` with an error for the user. `titans_lab.executors.answers` reads them.
"""

from __future__ import annotations

import argparse
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from titans_lab.errors import UserError
from titans_lab.evaluation.trained import Trained, load_run
from titans_lab.plugins.loading import load_inherited
from titans_lab.store.folder import RunFolder
from titans_lab.store.store import Store, writing
from titans_lab.store.weights import find_run

Rows = list[dict[str, Any]]
EXAMPLE = {"question", "expected", "said", "right"}  # the keys of an example


@dataclass(frozen=True)
class Findings:
    """The result of an evaluation.

    Attributes:
        rows: The rows of the view `evals`.
        examples: Some questions as a person reads them: `question`, `expected`, `said` and `right`.
    """

    rows: Rows
    examples: Rows = field(default_factory=list)


def shown_of(record: Mapping[str, Any]) -> Rows:
    """Return the examples of a recorded evaluation; none where it was recorded without."""
    return [dict(each) for each in record.get("examples", []) if set(each) >= EXAMPLE]


@dataclass(frozen=True, eq=False)
class Examined(ABC):
    """A finished run that is evaluated."""

    store: Store
    folder: RunFolder
    device: torch.device

    @cached_property
    def trained(self) -> Trained:
        """Return the run's model, which is loaded only if an evaluation is not recorded."""
        return load_run(self.store, self.folder.run_id, self.device)

    @abstractmethod
    def reply(self, asked: Any) -> dict[str, Any]:
        """Return the `evaluation` of one item of the input. Raise UserError where it cannot be answered."""

    def evaluation(self, name: str, about: Mapping[str, Any], find: Callable[[], Findings]) -> dict[str, Any]:
        """Return the rows and examples of an evaluation from its record, or compute and record them.

        Args:
            name: The id of the evaluation.
            about: Further fields of the record.
            find: A function that computes the rows and examples.
        """
        record = self.folder.evaluation(name)
        if record is not None:
            return {"evaluation": name, "recorded": True, "rows": record["rows"], "examples": shown_of(record)}
        found = find()
        ended = {"device": self.device.type, "finished": datetime.now(UTC).isoformat(), **vars(found)}
        with writing(self.store):
            self.folder.save_evaluation(name, {**about, **ended})
        return {"evaluation": name, "recorded": False, **vars(found)}


def serve(kind: type[Examined], module: str, description: str) -> None:
    """Answer the input of `python -m module`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    load_inherited()
    question = json.load(sys.stdin)
    store = Store(Path(question["store"]))
    examined = kind(store, find_run(store, question["run"]), torch.device(given.device))
    for asked in question["asked"]:
        try:
            answer = examined.reply(asked)
        except UserError as error:
            answer = {"wrong": str(error)}
        print(json.dumps(answer), flush=True)
