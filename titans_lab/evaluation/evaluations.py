"""What is asked of a finished run: needles and stories, each evaluation with an id of its own. No torch."""

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
from titans_lab.errors import UserError
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.stats.proportion import wilson
from titans_lab.store.store import Store
from titans_lab.tasks.babilong import BabilongSettings
from titans_lab.tasks.needle import NeedleSettings
from titans_lab.tasks.settings import TaskSettings

#: Raised when the numbers that the same evaluation gives change.
VERSION = 1
SETTINGS: dict[str, type[TaskSettings]] = {"needle": NeedleSettings, "babilong": BabilongSettings}
ANSWER_TOKENS = {"needle": 128, "babilong": 32}  # RULER's; of BABILong an answer is at most a few words


@dataclass(frozen=True)
class EvaluationRequest:
    """One evaluation.

    Attributes:
        task: "needle" or "babilong".
        kind: Of needle, as in `task.needle.kind`; of the story, by its file: "qa1".
        length: Tokens of a question and what is left for its answer; 0: a story without a book.
        count: Questions.
        seed: Of the questions.
        answer_tokens: Left for the answer, and generated.
        template: Of a needle, as in `task.needle.template`.
    """

    task: str
    kind: str
    length: int
    count: int
    seed: int
    answer_tokens: int
    template: str | None = None

    @property
    def setting(self) -> str:
        """Kind and template, for people."""
        return ", ".join(filter(None, (self.kind, self.template)))


@dataclass(frozen=True)
class Sources:
    """Files that questions are made of.

    Attributes:
        text: What to hide in; null: Python's documentation.
        words: A folder of word lists, for needles; null: our own.
        facts: Stories, for babilong.
    """

    text: str | None = None
    words: str | None = None
    facts: str | None = None


@dataclass(frozen=True)
class Result:
    """What came out of an evaluation.

    Attributes:
        evaluation: Its id.
        recorded: It was there already.
        rows: Of the view `evals`: the share of right answers first, then each answer with its depth.
    """

    evaluation: str
    asked: EvaluationRequest
    recorded: bool
    rows: Sequence[Mapping[str, Any]]

    @property
    def share(self) -> Mapping[str, Any]:
        """The row of all answers."""
        return self.rows[0]

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share of right answers, at 95 %."""
        return wilson(round(self.share["value"] * self.share["count"]), self.share["count"])


def kind_of(facts: str) -> str:
    """The task of a bAbI file by its name: "qa1" of qa1_single-supporting-fact_test.txt.gz."""
    return Path(facts).name.split("_")[0].split(".")[0]


def evaluation_id(run_id: str, asked: EvaluationRequest, digest: str) -> str:
    """16 hexadecimal digits over the run, what is asked, the data and the versions of all parts."""
    versions = titans.VERSIONS | {"task": SETTINGS[asked.task].VERSION, "evaluation": VERSION}
    facts = {"run": run_id, "asked": dataclasses.asdict(asked), "data": digest, "versions": versions}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def evaluate(
    store: Store, run_id: str, asked: Sequence[tuple[EvaluationRequest, Sources]], device: Device
) -> Iterator[Result]:
    """Answer each in a process with torch, or from what is recorded. UserError: the files do not serve; EndedEarly."""
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
