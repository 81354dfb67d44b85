"""Requests to evaluate a finished run on needles and stories, and their ids. This module needs no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import titans
from titans_lab.errors import UserError
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.stats.proportion import wilson
from titans_lab.store.store import Store
from titans_lab.tasks.babilong import BabilongSettings
from titans_lab.tasks.needle import NeedleSettings
from titans_lab.tasks.settings import TaskSettings

#: A version that is raised when the numbers of the same evaluation change.
VERSION = 1
SETTINGS: dict[str, type[TaskSettings]] = {"needle": NeedleSettings, "babilong": BabilongSettings}
ANSWER_TOKENS = {"needle": 128, "babilong": 32}  # as RULER has it; an answer of BABILong is a few words at most


@dataclass(frozen=True)
class EvaluationRequest:
    """A request for one evaluation.

    Attributes:
        task: "needle" or "babilong".
        kind: The kind of needle, as in `task.needle.kind`, or the bAbI task, such as "qa1".
        length: The tokens of a question with its answer. 0: a story without a book.
        count: The number of questions.
        seed: The seed of the questions.
        answer_tokens: The tokens that are reserved for the answer, and generated.
        template: The template of a needle, as in `task.needle.template`.
        writes: Whether the model writes to its memories and recurrences: "on", or "off" to ask what it knows without.
    """

    task: str
    kind: str
    length: int
    count: int
    seed: int
    answer_tokens: int
    template: str | None = None
    writes: Literal["on", "off"] = "on"

    @property
    def setting(self) -> str:
        """Return kind, template and whether writes are off, as the view `evals` has them."""
        return ", ".join(filter(None, (self.kind, self.template, "writes off" if self.writes == "off" else None)))


@dataclass(frozen=True)
class Sources:
    """The files that questions are made of.

    Attributes:
        text: The text to hide needles or facts in. None: Python's documentation.
        words: A folder of word lists for needles. None: built-in lists.
        facts: A file of stories for babilong.
    """

    text: str | None = None
    words: str | None = None
    facts: str | None = None


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    Attributes:
        evaluation: The id of the evaluation.
        recorded: Whether it was recorded before.
        rows: Rows of the view `evals`: the share of right answers first, then each answer with its depth.
        examples: Some questions: `question` (the end of the prompt), `expected`, `said` and `right`.
    """

    evaluation: str
    asked: EvaluationRequest
    recorded: bool
    rows: Sequence[Mapping[str, Any]]
    examples: Sequence[Mapping[str, Any]] = ()

    @property
    def share(self) -> Mapping[str, Any]:
        """Return the row with the share of right answers."""
        return self.rows[0]

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the share of right answers."""
        return wilson(round(self.share["value"] * self.share["count"]), self.share["count"])


def kind_of(facts: str) -> str:
    """Return the task of a bAbI file by its name, such as "qa1" for qa1_single-supporting-fact_test.txt.gz."""
    return Path(facts).name.split("_")[0].split(".")[0]


def evaluation_id(run_id: str, asked: EvaluationRequest, digest: str) -> str:
    """Return the id of an evaluation: 16 hexadecimal digits over the run, the request, the data and all versions."""
    versions = titans.VERSIONS | {"task": SETTINGS[asked.task].VERSION, "evaluation": VERSION}
    known = {key: value for key, value in dataclasses.asdict(asked).items() if (key, value) != ("writes", "on")}
    facts = {"run": run_id, "asked": known, "data": digest, "versions": versions}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def evaluate(
    store: Store, run_id: str, asked: Sequence[tuple[EvaluationRequest, Sources]], device: Device
) -> Iterator[Result]:
    """Yield the result of each request, from the records or from a process with torch.

    Raises:
        UserError: The files do not fit the request.
        EndedEarly: The process died.
    """
    question = {
        "store": str(store.root.absolute()),
        "run": run_id,
        "asked": [[dataclasses.asdict(each), dataclasses.asdict(sources)] for each, sources in asked],
    }
    arguments = ["--device", device.kind]
    with closing(answers("titans_lab.evaluation.evaluate", arguments, question, device.environment())) as given:
        for (each, _), answer in zip(asked, given, strict=False):
            if "wrong" in answer:
                raise UserError(answer["wrong"])
            yield Result(asked=each, **answer)
