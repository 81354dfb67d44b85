"""Haystacks: texts to hide a needle in, repeated as often as needed, and the offsets of their sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: RULER's filler, which is no natural text.
NOISE = b"The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
_SENTENCE_END = re.compile(rb"(?<=[.!?]) ")


@dataclass(frozen=True, eq=False)
class Haystack:
    """A text that restarts after its end.

    Attributes:
        text: The bytes. A sentence includes the separator to the next.
        starts: The offsets of sentences, ascending from 0, `[sentences]`.
    """

    text: bytes
    starts: np.ndarray

    @property
    def joint(self) -> bytes:
        """Return the separator between two sentences."""
        return self.text[-1:]

    def cut(self, size: int, start: int) -> tuple[bytes, np.ndarray]:
        """Return `size` bytes from a sentence on, and the offsets of the sentences in them. The last may be cut."""
        first = int(self.starts[start])
        rounds = -(-(first + size) // len(self.text))
        places = (self.starts[None] + len(self.text) * np.arange(rounds)[:, None]).ravel() - first
        return (self.text * rounds)[first : first + size], places[(places >= 0) & (places < size)]


def inserted(hay: bytes, pieces: Sequence[tuple[int, bytes]]) -> tuple[bytes, list[int]]:
    """Return a text with pieces in it, and their offsets in the result.

    Args:
        hay: The text.
        pieces: The place of each piece in the text, in ascending order, and the piece.
    """
    parts, offsets, size, before = list[bytes](), list[int](), 0, 0
    for place, piece in pieces:
        parts += [hay[before:place], piece]
        offsets.append(size + place - before)
        size, before = offsets[-1] + len(piece), place
    return b"".join([*parts, hay[before:]]), offsets


def noise() -> Haystack:
    """Return the five sentences that RULER repeats, as one unit: a needle stands between two repetitions."""
    return Haystack(NOISE, np.zeros(1, dtype=np.int64))


def prose(text: bytes) -> Haystack:
    """Return a text cut after each full stop, with runs of white space as single blanks, as RULER has its essays."""
    plain = b" ".join(text.split()) + b" "
    ends = [match.end() for match in _SENTENCE_END.finditer(plain)]
    return Haystack(plain, np.array([0, *(end for end in ends if end < len(plain))], dtype=np.int64))
