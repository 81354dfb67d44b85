"""Needle in a haystack, by RULER's protocol (arXiv 2404.06654, `niah_single_1` to `_3`) and the Titans paper's.

    passkey   S-NIAH-1: five sentences that repeat, a number of seven digits
    number    S-NIAH-2: prose, a number of seven digits
    uuid      S-NIAH-3: prose, a UUID
    word      the paper's S-NIAH-W: prose, a word

The key is an adjective and a noun. The needle stands between two sentences: in prose at one of RULER's 40 depths, in
repeated sentences anywhere. Unlike in RULER, a haystack is cut to the byte, so that all questions have exactly the same
length, and the prose is not RULER's essays and begins at a random sentence. Values of validation and tests never occur
in training.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from titans_lab.data.hidden import PURPOSE, NeedleContents, needle_contents, part_of, prose_part
from titans_lab.data.needles import ANSWER, HEAD, NEEDLE, TAIL, VALUES, Kind, Template, Words
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.tasks.haystack import Haystack, inserted, noise, prose
from titans_lab.tasks.needle import NeedleSettings
from titans_lab.tasks.question import STREAM, Question
from titans_lab.tasks.recall import RecallTask
from titans_lab.tasks.task import random_of

MOST_DRAWN = 10_000  # the most draws of a value until one belongs to the part
DEPTHS = np.round(np.linspace(0, 100, 40)).astype(int)  # RULER's, in per cent


@dataclass(frozen=True)
class NeedleFact:
    """A needle, the question for its value, and the answer."""

    needle: bytes
    question: bytes
    answer: bytes
    value: str

    @classmethod
    def of(cls, kind: Kind, template: Template, key: str, value: str) -> NeedleFact:
        """Return the fact that a key has a value, in a template's words."""
        many, one = VALUES[kind]
        needle, question = NEEDLE.format(many=many, key=key, value=value), TAIL[template].format(one=one, key=key)
        return cls(needle.encode(), question.encode(), ANSWER.format(value=value).encode(), value)


@dataclass(frozen=True, eq=False)
class Needles:
    """Questions of one kind. Each depends on these settings, the seed, its number and its length only.

    Attributes:
        kind, template: See `NeedleSettings`.
        words: What keys and values are made of.
        haystack: The text that needles are hidden in.
        seed: The seed of the questions.
        part: The part of the data that they are of.
        needles: The number of needles in a sequence.
        questions: The number of them that are asked for, the first one at the end.
    """

    kind: Kind
    template: Template
    words: Words
    haystack: Haystack
    seed: int
    part: Part
    needles: int = 1
    questions: int = 1

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        """Return question `number` of `length` bytes, the last `answer_tokens` of which are for the answer.

        By default `answer_tokens` is the length of the answer. Raise UserError where the needle and its template alone
        are longer than `length`.
        """
        numbers = random_of("needle", self.kind, self.template, self.seed, STREAM[self.part], length, number)
        asked, *others = facts = self._facts(numbers)
        answered = others[: self.questions - 1]
        head = HEAD[self.template].format(one=VALUES[self.kind][1]).encode()
        left = len(asked.answer) if answer_tokens is None else answer_tokens
        fixed = len(head) + left + len(asked.question) + sum(len(fact.needle) + 1 for fact in facts)
        room = length - fixed - sum(len(fact.question + fact.answer) + 1 for fact in answered)
        if room < 0:
            raise UserError(
                f"length {length}: a needle of this kind takes {length - room} tokens with no haystack around it; "
                "give more, or the brief template"
            )
        context, depth, answers = self._hide(facts, answered, room, numbers)
        spans = tuple((len(head) + begin, len(head) + end) for begin, end in answers)
        about = asked.question.decode().strip()
        return Question(head + context + asked.question, asked.answer, asked.value, depth, about, spans)

    def _facts(self, numbers: np.random.Generator) -> list[NeedleFact]:
        """Draw the facts of a sequence, each about a key of its own."""
        facts: dict[str, NeedleFact] = {}
        for _ in range(MOST_DRAWN):
            if (key := self.words.draw(numbers)) not in facts:
                facts[key] = NeedleFact.of(self.kind, self.template, key, self._value(numbers))
            if len(facts) == self.needles:
                return list(facts.values())
        raise UserError(f"task.needle.words: too few for {self.needles} different keys; give longer lists")

    def _value(self, numbers: np.random.Generator) -> str:
        """Draw a value that belongs to the part."""
        for _ in range(MOST_DRAWN):
            if part_of(value := self._any_value(numbers)) == self.part:
                return value
        raise UserError(f"task.needle.words: of {MOST_DRAWN} values none is {PURPOSE[self.part]}; give longer lists")

    def _any_value(self, numbers: np.random.Generator) -> str:
        if self.kind == "word":
            return self.words.draw(numbers)
        if self.kind == "uuid":
            return str(uuid.UUID(bytes=numbers.bytes(16), version=4))
        return str(numbers.integers(10**6, 10**7))

    def _hide(
        self, facts: Sequence[NeedleFact], answered: Sequence[NeedleFact], room: int, numbers: np.random.Generator
    ) -> tuple[bytes, float, list[tuple[int, int]]]:
        """Return the haystack with needles and answered questions in it.

        Returns:
            The context, the depth of the first needle, and begin and end of each answer in the context.
        """
        hay, starts = self.haystack.cut(room, int(numbers.integers(len(self.haystack.starts))))
        places, joint = [*starts.tolist(), room], self.haystack.joint
        homes = {fact: places[self._index(len(starts), numbers)] for fact in facts}
        pieces = [(place, joint + x.needle if place == room else x.needle + joint) for x, place in homes.items()]
        for fact in answered:
            later = [place for place in places if place >= homes[fact]]
            pieces.append((later[int(numbers.integers(len(later)))], fact.question + fact.answer + joint))
        order = sorted(range(len(pieces)), key=lambda index: pieces[index][0])  # at one place, needles come first
        context, offsets = inserted(hay, [pieces[index] for index in order])
        offset_of = dict(zip(order, offsets, strict=True))
        begins = (offset_of[len(facts) + index] + len(fact.question) for index, fact in enumerate(answered))
        spans = [(begin, begin + len(fact.answer)) for begin, fact in zip(begins, answered, strict=True)]
        return context, homes[facts[0]] / max(room, 1), spans

    def _index(self, sentences: int, numbers: np.random.Generator) -> int:
        """Draw the sentence that a needle stands before; `sentences` is the end of the haystack."""
        if self.kind == "passkey":
            return int(numbers.integers(max(sentences, 1)))
        return sentences * int(DEPTHS[numbers.integers(len(DEPTHS))]) // 100


class NeedleTask(RecallTask):
    """The task of needles in sequences of `train.seq_len` bytes."""

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> NeedleTask:
        """Read the words and the prose that the kind of needle needs."""
        settings = config.task.settings
        assert isinstance(settings, NeedleSettings)
        contents = needle_contents(settings.kind, config.data.path, settings.words)
        asked: dict[Part, Needles] = {}
        for part in PARTS:
            single = needles(settings.kind, settings.template, contents, seed if part == "train" else 0, part)
            questions = settings.questions if part == "train" else 1
            asked[part] = replace(single, needles=settings.needles, questions=questions)
        return cls(config, contents.digest, asked)


def needles(kind: Kind, template: Template, contents: NeedleContents, seed: int, part: Part) -> Needles:
    """Return the questions of a part of the data."""
    haystack = noise() if kind == "passkey" else prose(prose_part(contents.prose, part))
    return Needles(kind, template, Words.of(contents.words), haystack, seed, part)


def string_match_all(output: str, target: str) -> bool:
    """Return RULER's score of an answer: whether the output contains the value, in upper or lower case."""
    return target.lower() in output.lower()
