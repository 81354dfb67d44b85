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
from dataclasses import dataclass

import numpy as np

from titans_lab.data.hidden import PURPOSE, NeedleContents, needle_contents, part_of, prose_part
from titans_lab.data.needles import HEAD, NEEDLE, TAIL, VALUES, Kind, Template, Words
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.tasks.haystack import Haystack, noise, prose
from titans_lab.tasks.needle import NeedleSettings
from titans_lab.tasks.question import STREAM, Question
from titans_lab.tasks.recall import RecallTask
from titans_lab.tasks.task import random_of

MOST_DRAWN = 10_000  # the most draws of a value until one belongs to the part
DEPTHS = np.round(np.linspace(0, 100, 40)).astype(int)  # RULER's, in per cent


@dataclass(frozen=True, eq=False)
class Needles:
    """Questions of one kind. Each depends on the kind, the seed, its number and its length only."""

    kind: Kind
    template: Template
    words: Words
    haystack: Haystack
    seed: int
    part: Part

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        """Return question `number` of `length` bytes, the last `answer_tokens` of which are for the answer.

        By default `answer_tokens` is the length of the answer. Raise UserError where the needle and its template alone
        are longer than `length`.
        """
        numbers = random_of("needle", self.kind, self.template, self.seed, STREAM[self.part], length, number)
        key, value = self.words.draw(numbers), self._value(numbers)
        many, one = VALUES[self.kind]
        needle = NEEDLE.format(many=many, key=key, value=value).encode()
        head = HEAD[self.template].format(one=one).encode()
        tail = TAIL[self.template].format(one=one, key=key).encode()
        answer = f" {value}.".encode()
        left = len(answer) if answer_tokens is None else answer_tokens
        room = length - left - len(head) - len(tail) - len(needle) - 1
        if room < 0:
            raise UserError(
                f"length {length}: a needle of this kind takes {length - room} tokens with no haystack around it; "
                "give more, or the brief template"
            )
        context, depth = self._hide(needle, room, numbers)
        return Question(head + context + tail, answer, value, depth, tail.decode().strip())

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

    def _hide(self, needle: bytes, room: int, numbers: np.random.Generator) -> tuple[bytes, float]:
        """Return the haystack with the needle in it, and the depth of the needle."""
        hay, starts = self.haystack.cut(room, int(numbers.integers(len(self.haystack.starts))))
        if self.kind == "passkey":
            index = int(numbers.integers(max(len(starts), 1)))
        else:
            index = len(starts) * int(DEPTHS[numbers.integers(len(DEPTHS))]) // 100
        place, joint = [*starts.tolist(), room][index], self.haystack.joint
        middle = joint + needle if place == room else needle + joint
        return hay[:place] + middle + hay[place:], place / max(room, 1)


class NeedleTask(RecallTask):
    """The task of needles in sequences of `train.seq_len` bytes."""

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> NeedleTask:
        """Read the words and the prose that the kind of needle needs."""
        settings = config.task.settings
        assert isinstance(settings, NeedleSettings)
        contents = needle_contents(settings.kind, config.data.path, settings.words)
        asked: dict[Part, Needles] = {
            part: needles(settings.kind, settings.template, contents, seed if part == "train" else 0, part)
            for part in PARTS
        }
        return cls(config, contents.digest, asked)


def needles(kind: Kind, template: Template, contents: NeedleContents, seed: int, part: Part) -> Needles:
    """Return the questions of a part of the data."""
    haystack = noise() if kind == "passkey" else prose(prose_part(contents.prose, part))
    return Needles(kind, template, Words.of(contents.words), haystack, seed, part)


def string_match_all(output: str, target: str) -> bool:
    """Return RULER's score of an answer: whether the output contains the value, in upper or lower case."""
    return target.lower() in output.lower()
