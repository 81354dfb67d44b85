"""Evaluate a finished run in streaming mode, with constant memory: `python -m titans_lab.evaluation.evaluate`.

`titans_lab.evaluation.examined` describes input and output. The requests are pairs of `EvaluationRequest` and
`Sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any, final

import numpy as np
import torch

from titans.models.generation import generate, prefill
from titans.models.language_model import LanguageModel, has_writes, writes_off
from titans_lab.data.hidden import babilong_contents, needle_contents
from titans_lab.data.tokenizer import BYTES
from titans_lab.environment import environment
from titans_lab.errors import UserError
from titans_lab.evaluation.evaluations import SETTINGS, EvaluationRequest, Sources, evaluation_id
from titans_lab.evaluation.examined import Examined, Findings, serve
from titans_lab.tasks.babilong.task import is_right, stories
from titans_lab.tasks.needle.task import needles, string_match_all
from titans_lab.tasks.question import TOKENIZER, Question
from titans_lab.tasks.recall import Questions
from titans_lab.tasks.task import Score
from titans_lab.training.precision import products_in

PIECE = 1024  # tokens read at a time
AT_ONCE = 2**16  # tokens of the questions in a batch
EXAMPLES, EXAMPLE_BYTES = 3, 160  # questions that are kept for readers, and bytes of the end of each


@dataclass(frozen=True)
class Examination:
    """The questions of an evaluation, and how an answer is judged.

    Attributes:
        questions: The source of the questions.
        count: The number of questions.
        right: A function that says whether a model's words answer a question.
        digest: The hash of the data.
        note: A warning about the interpretation of the results.
    """

    questions: Questions
    count: int
    right: Callable[[str, Question], bool]
    digest: str
    note: str


def examination(asked: EvaluationRequest, sources: Sources) -> Examination:
    """Return the questions of a request, with its files read. Raise UserError where they do not fit."""
    return _of_needles(asked, sources) if asked.task == "needle" else _of_stories(asked, sources)


def _of_needles(asked: EvaluationRequest, sources: Sources) -> Examination:
    contents = needle_contents(asked.kind, sources.text, sources.words)
    questions = needles(asked.kind, asked.template, contents, asked.seed, "test")  # type: ignore[arg-type]
    text = "" if asked.kind == "passkey" else ", another text than its essays"
    return Examination(
        questions,
        asked.count,
        lambda said, question: string_match_all(said, question.target),
        contents.digest,
        f"not RULER-comparable: lengths in {TOKENIZER}{text}",
    )


def _of_stories(asked: EvaluationRequest, sources: Sources) -> Examination:
    contents = babilong_contents(sources.facts, sources.text)
    questions = stories(contents, asked.seed, "test")
    there = questions.count(asked.length, asked.answer_tokens)
    return Examination(
        questions,
        max(1, min(asked.count, there)),  # where there is none, reading the first one says why
        lambda said, question: is_right(said, question.target, question.about, questions.labels),
        contents.digest,
        f"lengths in {TOKENIZER}",
    )


@final
class AnsweringRun(Examined):
    """A finished run that answers questions."""

    @cached_property
    def model(self) -> LanguageModel:
        """Return the run's model. Raise UserError where it does not read bytes."""
        trained = self.trained
        if trained.tokenizer is not BYTES:
            raise UserError(f"run {self.folder.run_id}: its tokens are not bytes; name a run with a byte tokenizer")
        return trained.model

    def reply(self, asked: Any) -> dict[str, Any]:
        """Return the answer to a pair of `EvaluationRequest` and `Sources`."""
        about, sources = asked
        return self.answer(EvaluationRequest(**about), Sources(**sources))

    def answer(self, asked: EvaluationRequest, sources: Sources) -> dict[str, Any]:
        """Return the rows of an evaluation. Raise UserError where the writes of a model without any are to be off."""
        if asked.writes == "off" and not has_writes(self.model):
            raise UserError(f"run {self.folder.run_id}: --writes off: {self.model.config.variant} writes to no state")
        exam = examination(asked, sources)
        name = evaluation_id(self.folder.run_id, asked, exam.digest)
        about = {"asked": vars(asked), "sources": vars(sources), "data_hash": exam.digest, "env": environment()}
        return self.evaluation(name, about, lambda: self._found(asked, exam))

    def _found(self, asked: EvaluationRequest, exam: Examination) -> Findings:
        told = [(question, said, exam.right(said, question)) for question, said in self.said(asked, exam)]
        found = [(question.depth, right) for question, _, right in told]
        share = sum(right for _, right in found) / len(found)
        score = partial(Score, SETTINGS[asked.task].METRIC, setting=asked.setting, length=asked.length)
        scores = [score(share, len(found)), *(score(float(right), 1, depth=depth) for depth, right in found)]
        rows = [score.row(asked.task) | {"note": exam.note} for score in scores]
        return Findings(rows, [example(*each) for each in told[:EXAMPLES]])

    def said(self, asked: EvaluationRequest, exam: Examination) -> Iterator[tuple[Question, str]]:
        """Yield each question and the text that the model generated."""
        side_by_side = max(1, AT_ONCE // max(asked.length, 1))
        for first in range(0, exam.count, side_by_side):
            numbers = range(first, min(first + side_by_side, exam.count))
            questions = [exam.questions.question(number, asked.length, asked.answer_tokens) for number in numbers]
            for _, alike in groupby(sorted(questions, key=_size), key=_size):
                batch = list(alike)
                switched = writes_off(self.model) if asked.writes == "off" else nullcontext()
                with products_in(self.trained.config.train.precision, self.device), switched:
                    answers = replies(self.model, batch, asked.answer_tokens, self.device)
                yield from zip(batch, answers, strict=True)


def example(question: Question, said: str, right: bool) -> dict[str, Any]:
    """Return a question as a person reads it: the end of the prompt, what was to be said, and what the model said."""
    prompt = question.prompt[-EXAMPLE_BYTES:].decode(errors="replace")
    return {"question": prompt, "expected": question.target, "said": said[:EXAMPLE_BYTES], "right": right}


@torch.no_grad()
def replies(model: LanguageModel, questions: Sequence[Question], count: int, device: torch.device) -> list[str]:
    """Return `count` greedily generated tokens as text, after prompts of equal length that are read piece by piece."""
    prompts = np.stack([np.frombuffer(question.prompt, np.uint8) for question in questions])
    state, end = None, prompts.shape[1] - 1
    for begin in range(0, end, PIECE):
        state = prefill(model, _tokens(prompts[:, begin : min(begin + PIECE, end)], device), state)
    drawn = generate(model, _tokens(prompts[:, end:], device), count, temperature=0, state=state).tolist()
    known = len(BYTES.pieces)  # a token that is no byte becomes a question mark
    return [bytes(token if token < known else ord("?") for token in row).decode(errors="replace") for row in drawn]


def _tokens(prompts: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(prompts.astype(np.int64)).to(device)


def _size(question: Question) -> int:
    return len(question.prompt)


if __name__ == "__main__":
    serve(AnsweringRun, "titans_lab.evaluation.evaluate", "Evaluate a finished run.")
