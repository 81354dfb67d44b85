"""BABILong (arXiv 2406.10149): the facts of a bAbI story hidden between the sentences of a book, then the question.

The facts stand in their order at places that are drawn, each between two sentences, by a uniform choice with
repetition, as in the authors' generator; the context ends with the question. Unlike theirs, a length counts question
and answer too. One story in ten, by the hash of its text, and the last tenth of the book are for tests alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from titans_lab.data.babi import LONGEST_ANSWER, StoryQuestion, chosen_stories, parse_babi, question_and_facts, size_of
from titans_lab.data.hidden import BabilongContents, babilong_contents, part_of
from titans_lab.errors import UserError
from titans_lab.study.config import RunConfig
from titans_lab.tasks.babilong import BabilongSettings
from titans_lab.tasks.haystack import Haystack, prose
from titans_lab.tasks.question import Question
from titans_lab.tasks.recall import RecallTask
from titans_lab.tasks.task import random_of

LIST_FROM = 4  # letters: an answer of so many with a comma is a list; a shorter one is a pair of directions, as "n,e"


def labels_of(asked: Sequence[StoryQuestion]) -> frozenset[str]:
    """Every answer of a task: what a model may say, of which one is right."""
    return frozenset(label for each in asked for label in parts(each.answer))


def parts(answer: str) -> list[str]:
    """The answers of a list."""
    return answer.lower().split(",") if len(answer) >= LIST_FROM else [answer.lower()]


def is_right(output: str, target: str, question: str, labels: frozenset[str]) -> bool:
    """The official rule: of all labels that the question does not mention, the first sentence has the target alone."""
    said = output.lower().split(".")[0].split("<context>")[0].split("<example>")[0]
    named = {label for label in labels if label in said and label not in question.lower()}
    return named == set(parts(target))


@dataclass(frozen=True, eq=False)
class Stories:
    """Questions of one bAbI file in one book: each a function of this, the seed, its number and its length alone.

    Attributes:
        asked: The questions of the stories for testing, or of those for training.
        book: What the facts are hidden in.
        labels: All that a model may answer, of which one is right.
    """

    asked: Sequence[StoryQuestion]
    book: Haystack
    seed: int
    testing: bool
    labels: frozenset[str]

    @cached_property
    def _order(self) -> np.ndarray:
        """In which the questions come, and come again."""
        return random_of("babilong", self.seed, self.testing).permutation(len(self.asked))

    @cached_property
    def _sizes(self) -> np.ndarray:
        """Bytes of each question's story, the question included, in that order."""
        return np.array([size_of(self.asked[index]) for index in self._order])

    def count(self, length: int, answer_tokens: int | None = None) -> int:
        """How many different questions there are that fit into a length."""
        return len(self._fitting(length, answer_tokens))

    def _fitting(self, length: int, answer_tokens: int | None) -> np.ndarray:
        left = LONGEST_ANSWER if answer_tokens is None else answer_tokens
        return self._order[self._sizes + left <= length] if length else self._order

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        """Number `number` of `length` bytes, of which the last `answer_tokens` are left for the answer; 0: no book.

        Null: as many as the answer has. UserError where there is no story that is so short.
        """
        fitting = self._fitting(length, answer_tokens)
        if not len(fitting):
            raise UserError(
                f"length {length}: too short for any story; the shortest takes {min(self._sizes)} tokens and its answer"
            )
        asked = self.asked[fitting[number % len(fitting)]]
        tail, facts, answer = *question_and_facts(asked), f" {asked.answer}.".encode()
        left = len(answer) if answer_tokens is None else answer_tokens
        room = length - left - size_of(asked) if length else 0
        numbers = random_of("babilong", self.seed, self.testing, length, number)
        context, places = self._hide(facts, room, numbers)
        depth = min(places[index] for index in asked.support) / max(len(context), 1)
        return Question(context + tail, answer, asked.answer, depth, asked.question)

    def _hide(self, facts: Sequence[bytes], room: int, numbers: np.random.Generator) -> tuple[bytes, list[int]]:
        """The book with the facts in it, and where they are."""
        start = int(numbers.integers(len(self.book.starts)))
        hay, starts = self.book.cut(room, start)
        gaps = np.append(starts, room)
        chosen = np.sort(numbers.choice(gaps, len(facts)))
        pieces, places, size, before = [], [], 0, 0
        for fact, gap in zip(facts, chosen.tolist(), strict=True):
            pieces += [hay[before:gap], fact]
            places.append(size + gap - before)
            size, before = places[-1] + len(fact), gap
        return b"".join([*pieces, hay[before:]]), places


class BabilongTask(RecallTask):
    """Stories of up to `train.seq_len` bytes, filled up with a book."""

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> BabilongTask:
        """Read the stories and the book."""
        settings = config.task.settings
        assert isinstance(settings, BabilongSettings)
        contents = babilong_contents(settings.facts, config.data.path)
        training, testing = (stories(contents, seed if not testing else 0, testing) for testing in (False, True))
        return cls(config, contents.digest, training, testing)


def stories(contents: BabilongContents, seed: int, testing: bool) -> Stories:
    """Questions for training, or for tests; the last tenth of the book is for tests."""
    asked = parse_babi(contents.facts.decode(errors="replace"), contents.facts_source)
    chosen, book = chosen_stories(contents, testing), prose(part_of(contents.book, testing))
    return Stories(chosen, book, seed, testing, labels_of(asked))
