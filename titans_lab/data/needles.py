"""The sentences of needles and their questions, as in RULER (arXiv 2404.06654), and the words that they are made of.

Nothing here imports torch or numpy: the settings of the task read the kinds of needles from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["passkey", "number", "uuid", "word"]
Template = Literal["ruler", "brief"]

#: RULER's nouns for the values, in the plural and the singular.
VALUES: dict[Kind, tuple[str, str]] = {
    "passkey": ("numbers", "number"),
    "number": ("numbers", "number"),
    "uuid": ("uuids", "uuid"),
    "word": ("words", "word"),
}
NEEDLE = "One of the special magic {many} for {key} is: {value}."
HEAD: dict[Template, str] = {
    "ruler": "A special magic {one} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {one} afterwards.\n",
    "brief": "",
}
TAIL: dict[Template, str] = {
    "ruler": "\nWhat is the special magic {one} for {key} mentioned in the provided text? "
    "The special magic {one} for {key} mentioned in the provided text is",
    "brief": "\nThe special magic {one} for {key} is:",
}
ANSWER = " {value}."
DIGITS: dict[Kind, int] = {"passkey": 7, "number": 7, "uuid": 36}  # characters of a value that is no word

#: Adjectives and nouns, a short list of our own.
OWN_WORDS = (
    (
        b"amber ancient brave bright calm clever cold crisp curious deep distant eager early faint fair fierce "
        b"gentle golden grand happy hidden honest humble idle jolly keen kind late lively loud lucky mellow mild "
        b"noble odd pale plain proud quick quiet rapid rare ready rough round royal rustic sharp shy silent simple "
        b"sleepy slim smooth soft solid steady stern sunny swift tall tame tender tidy tiny vivid warm wide wild "
        b"wise witty young"
    ),
    (
        b"anchor apple arrow badge barrel basket beacon bell bench bottle branch bridge brook bucket button cabin "
        b"candle canyon carpet castle cherry circle cloud comet copper corner cradle crater crystal desert dragon "
        b"engine falcon feather ferry fiddle forest fountain garden glacier hammer harbor island jacket kettle "
        b"ladder lantern lemon magnet marble meadow mirror mountain needle ocean orchard paddle pebble pencil "
        b"pepper planet pocket puzzle raven ribbon river saddle shadow silver spiral summit temple thunder ticket "
        b"timber tunnel valley velvet violin wagon whistle willow window winter"
    ),
)


@dataclass(frozen=True, eq=False)
class Words:
    """The words of keys, and of values that are words: a short list of our own, or RULER's from wonderwords."""

    adjectives: Sequence[str]
    nouns: Sequence[str]

    @classmethod
    def of(cls, files: Sequence[bytes] = ()) -> Words:
        """Return the words of a file of adjectives and one of nouns, or the built-in ones without files."""
        return cls(*(file.decode(errors="replace").split() for file in files or OWN_WORDS))

    def draw(self, numbers: np.random.Generator) -> str:
        """Draw an adjective and a noun, such as "calm-river"."""
        adjective, noun = (words[int(numbers.integers(len(words)))] for words in (self.adjectives, self.nouns))
        return f"{adjective}-{noun}"

    def longest(self, kind: Kind, template: Template, needles: int = 1, questions: int = 1) -> int:
        """Return the bytes that the longest needles take, with their questions and answers and no haystack."""
        key = max(self.adjectives, key=_size) + "-" + max(self.nouns, key=_size)
        value = key if kind == "word" else "0" * DIGITS[kind]
        many, one = VALUES[kind]
        times = {HEAD[template]: 1, NEEDLE: needles, TAIL[template]: questions, ANSWER: questions}
        joints = needles + questions - 1
        words = {"many": many, "one": one, "key": key, "value": value}
        return sum(_size(text.format(**words)) * count for text, count in times.items()) + joints


def _size(text: str) -> int:
    return len(text.encode())
