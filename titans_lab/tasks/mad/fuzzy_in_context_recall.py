"""MAD's fuzzy in-context recall: keys and values of several tokens.

The model is trained to predict every next token, on keys of any size. It is tested with keys of the largest size, on
the values of keys that occurred before in the sequence.
"""

from __future__ import annotations

from random import Random

import numpy as np

from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import FuzzyRecallSettings
from titans_lab.tasks.mad.task import MadTask
from titans_lab.tasks.task import IGNORED

Motif = tuple[int, ...]


class FuzzyInContextRecallTask(MadTask):
    """The task: padding, pairs of a key and a value, and at the end a repeated key with its value."""

    settings: FuzzyRecallSettings

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples whose targets are the next tokens, from the last token of a key to the end of its value."""
        source = Random(int(random.integers(2**62)))
        rows = [self._sequence(source, part.length, training) for _ in range(count)]
        tokens, asked = (np.array(x) for x in zip(*rows, strict=True))
        inputs, following = tokens[:, :-1], tokens[:, 1:]
        return inputs, following if training else np.where(asked[:, 1:], following, IGNORED)

    def _sequence(self, random: Random, length: int, training: bool) -> tuple[list[int], list[bool]]:
        """Return `length` + 1 tokens, and which of them a test asks for."""
        most = self.settings.key_tokens + self.settings.value_tokens
        key, value = self._key(random, training), self._value(random)
        end = length - len(key) - len(value) - most
        first = random.randrange(max(1, end - most + 1))  # leaves room for the pair that is asked for
        known: dict[Motif, Motif] = {}
        tokens: list[int] = []
        asked: list[bool] = []
        while len(tokens) < end:
            due = key not in known and len(tokens) >= first
            some = key if due else self._key(random, training)
            asks, known[some] = some in known, known.get(some) or (value if some == key else self._value(random))
            tokens += (*some, *known[some])
            asked += [False] * len(some) + [asks] * len(known[some])
        tokens += (*key, *value)
        asked += [False] * len(key) + [True] * len(value)
        padding = length + 1 - len(tokens)
        return [self.settings.vocabulary - 1] * padding + tokens, [False] * padding + asked

    def _key(self, random: Random, training: bool) -> Motif:
        """Draw a key of any size in training, of the largest size for tests."""
        most = self.settings.key_tokens
        size = random.randint(1, most) if training else most
        return tuple(random.sample(range((self.settings.vocabulary - 1) // 2), size))

    def _value(self, random: Random) -> Motif:
        """Draw a value of any size."""
        last = self.settings.vocabulary - 1
        return tuple(random.sample(range(last // 2, last), random.randint(1, self.settings.value_tokens)))
