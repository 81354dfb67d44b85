"""Text to hide something in: bytes that go round and round, and where a sentence of them begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

#: RULER's own: no text at all.
NOISE = b"The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
_SENTENCE_END = re.compile(rb"(?<=[.!?]) ")


@dataclass(frozen=True, eq=False)
class Haystack:
    """A text that goes on from its start after its end.

    Attributes:
        text: Its bytes; a sentence ends with what stands between it and the next.
        starts: Where a sentence begins, ascending from 0.
    """

    text: bytes
    starts: np.ndarray

    @property
    def joint(self) -> bytes:
        """What stands between two sentences."""
        return self.text[-1:]

    def cut(self, size: int, start: int) -> tuple[bytes, np.ndarray]:
        """`size` bytes from a sentence on, the last one perhaps broken off, and where in them sentences begin."""
        first = int(self.starts[start])
        rounds = -(-(first + size) // len(self.text))
        places = (self.starts[None] + len(self.text) * np.arange(rounds)[:, None]).ravel() - first
        return (self.text * rounds)[first : first + size], places[(places >= 0) & (places < size)]


def noise() -> Haystack:
    """The five sentences that RULER repeats, as one unit: a needle stands between two rounds."""
    return Haystack(NOISE, np.zeros(1, dtype=np.int64))


def prose(text: bytes) -> Haystack:
    """A text with its white space made single blanks, as RULER does with essays, cut after each full stop."""
    plain = b" ".join(text.split()) + b" "
    ends = [match.end() for match in _SENTENCE_END.finditer(plain)]
    return Haystack(plain, np.array([0, *(end for end in ends if end < len(plain))], dtype=np.int64))
