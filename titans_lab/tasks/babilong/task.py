"""BABILong (arXiv 2406.10149): the facts of a bAbI story hidden between the sentences of a book, then the question.

The facts stand in their order between sentences that are drawn uniformly with repetition, as in the authors' generator.
The context ends with the question. Unlike theirs, a length includes question and answer. Of the stories, by the hash of
their text, one in twenty is for validation and one for tests. So is each half of the book's last tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from titans_lab.data.babi import LONGEST_ANSWER, StoryQuestion, chosen_stories, parse_babi, question_and_facts, size_of
from titans_lab.data.hidden import BabilongContents, babilong_contents, prose_part
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.tasks.babilong import BabilongSettings
from titans_lab.tasks.haystack import Haystack, inserted, prose
from titans_lab.tasks.question import STREAM, Question
from titans_lab.tasks.recall import RecallTask
from titans_lab.tasks.task import random_of

LIST_FROM = 4  # letters: a longer answer with a comma is a list, a shorter one a pair of directions such as "n,e"


def labels_of(asked: Sequence[StoryQuestion]) -> frozenset[str]:
    """Return all answers of a task, one of which is right for a question."""
    return frozenset(label for each in asked for label in parts(each.answer))


def parts(answer: str) -> list[str]:
    """Return the items of an answer that is a list."""
    return answer.lower().split(",") if len(answer) >= LIST_FROM else [answer.lower()]


def is_right(output: str, target: str, question: str, labels: frozenset[str]) -> bool:
    """Apply the official rule: of the labels not in the question, the output's first sentence has only the target."""
    said = output.lower().split(".")[0].split("<context>")[0].split("<example>")[0]
    named = {label for label in labels if label in said and label not in question.lower()}
    return named == set(parts(target))


class Answered(NamedTuple):
    """A question inside of a prompt, with its answer.

    Attributes:
        text: The question and the answer, with a blank behind them.
        answer: The bytes of the answer.
        facts: The number of facts that the question stands behind.
    """

    text: bytes
    answer: int
    facts: int

    @classmethod
    def of(cls, asked: StoryQuestion) -> Answered:
        """Return a question of a story with its answer."""
        tail, answer = question_and_facts(asked)[0], f" {asked.answer}.".encode()
        return cls(tail + answer + b" ", len(answer), len(asked.facts))

    def span(self, offset: int) -> tuple[int, int]:
        """Return begin and end of the answer in a text that has the question at an offset."""
        end = offset + len(self.text) - 1
        return end - self.answer, end


@dataclass(frozen=True, eq=False)
class Stories:
    """Questions of one bAbI file in one book. Each depends on these, the seed, its number and its length only.

    Attributes:
        asked: The questions of the part's stories.
        book: The text that the facts are hidden in.
        labels: All answers, one of which is right for a question.
        questions: The most questions of a story in a sequence, the last of them at its end.
    """

    asked: Sequence[StoryQuestion]
    book: Haystack
    seed: int
    part: Part
    labels: frozenset[str]
    questions: int = 1

    @cached_property
    def _order(self) -> np.ndarray:
        """Return the order of the questions `[questions]`, which repeats."""
        return random_of("babilong", self.seed, STREAM[self.part]).permutation(len(self.asked))

    @cached_property
    def _sizes(self) -> np.ndarray:
        """Return the bytes of each question with its story `[questions]`, in that order."""
        return np.array([size_of(self.asked[index]) for index in self._order])

    def count(self, length: int, answer_tokens: int | None = None) -> int:
        """Return the number of different questions that fit into a length."""
        return len(self._fitting(length, answer_tokens))

    def _fitting(self, length: int, answer_tokens: int | None) -> np.ndarray:
        left = LONGEST_ANSWER if answer_tokens is None else answer_tokens
        return self._order[self._sizes + left <= length] if length else self._order

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        """Return question `number` of `length` bytes, the last `answer_tokens` of which are for the answer.

        With length 0 there is no book. By default `answer_tokens` is the length of the answer. Raise UserError where no
        story is short enough.
        """
        fitting = self._fitting(length, answer_tokens)
        if not len(fitting):
            raise UserError(
                f"length {length}: too short for any story; the shortest takes {min(self._sizes)} tokens and its answer"
            )
        chosen = int(fitting[number % len(fitting)])
        asked = self.asked[chosen]
        tail, facts, answer = *question_and_facts(asked), f" {asked.answer}.".encode()
        left = len(answer) if answer_tokens is None else answer_tokens
        room = length - left - size_of(asked) if length else 0
        answered = self._answered(chosen, room)
        room -= sum(len(each.text) for each in answered)
        numbers = random_of("babilong", self.seed, STREAM[self.part], length, number)
        context, places, spans = self._hide(facts, answered, room, numbers)
        depth = min(places[index] for index in asked.support) / max(len(context), 1)
        return Question(context + tail, answer, asked.answer, depth, asked.question, spans)

    def _answered(self, chosen: int, room: int) -> list[Answered]:
        """Return the questions of the same story before a question, in order: as many as may be, and as have room."""
        found: list[Answered] = []
        for index in range(chosen - 1, max(chosen - self.questions, -1), -1):
            each = self.asked[index]
            if each.story != self.asked[chosen].story or len(each.facts) > len(self.asked[chosen].facts):
                break
            answered = Answered.of(each)
            room -= len(answered.text)
            if room < 0:
                break
            found.insert(0, answered)
        return found

    def _hide(
        self, facts: Sequence[bytes], answered: Sequence[Answered], room: int, numbers: np.random.Generator
    ) -> tuple[bytes, list[int], tuple[tuple[int, int], ...]]:
        """Return the book with facts and answered questions in it.

        Returns:
            The context, the offsets of the facts in it, and begin and end of each answer.
        """
        start = int(numbers.integers(len(self.book.starts)))
        hay, starts = self.book.cut(room, start)
        gaps = np.append(starts, room)
        homes = np.sort(numbers.choice(gaps, len(facts)))
        pieces = [(int(gap), index, 0, fact) for index, (gap, fact) in enumerate(zip(homes, facts, strict=True))]
        for order, each in enumerate(answered, start=1):
            first, last = homes[each.facts - 1], homes[each.facts] if each.facts < len(facts) else room
            between = gaps[(gaps >= first) & (gaps <= last)]
            pieces.append((int(numbers.choice(between)), each.facts - 1, order, each.text))
        pieces.sort(key=lambda piece: piece[:3])
        context, offsets = inserted(hay, [(place, text) for place, *_, text in pieces])
        places = [offset for (*_, order, _), offset in zip(pieces, offsets, strict=True) if not order]
        begins = {order: offset for (*_, order, _), offset in zip(pieces, offsets, strict=True) if order}
        return context, places, tuple(each.span(begins[order]) for order, each in enumerate(answered, start=1))


class BabilongTask(RecallTask):
    """The task of stories that a book fills up to `train.seq_len` bytes."""

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> BabilongTask:
        """Read the stories and the book."""
        settings = config.task.settings
        assert isinstance(settings, BabilongSettings)
        contents = babilong_contents(settings.facts, config.data.path)
        asked: dict[Part, Stories] = {part: stories(contents, seed if part == "train" else 0, part) for part in PARTS}
        asked["train"] = replace(asked["train"], questions=settings.questions)
        return cls(config, contents.digest, asked)


def stories(contents: BabilongContents, seed: int, part: Part) -> Stories:
    """Return the questions of a part of the data."""
    asked = parse_babi(contents.facts.decode(errors="replace"), contents.facts_source)
    chosen, book = chosen_stories(contents, part), prose(prose_part(contents.book, part))
    return Stories(chosen, book, seed, part, labels_of(asked))
