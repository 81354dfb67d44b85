"""The weight decay of parameters chosen by their names, such as "head.weight=0.01 *.memory.*=0"."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

EXAMPLE = "write patterns of parameter names with their decay, such as embedding.*=0.1 *.memory.*=0"


class DecayGroup(NamedTuple):
    """The parameters whose names match a pattern, as file names match one in a shell, and their weight decay."""

    pattern: str
    decay: float

    def __str__(self) -> str:
        return f"{self.pattern}={self.decay:g}"

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches a parameter's name, such as "blocks.0.mixer_norm.weight"."""
        return fnmatchcase(name, self.pattern)


@lru_cache(maxsize=1000)
def parse_decay(text: str) -> tuple[DecayGroup, ...]:
    """Return the groups that a text describes: patterns and numbers, with "=" between the two and a space after each.

    Raises:
        ValueError: The text describes no groups. The message says what to write.
    """
    groups = tuple(map(_group, text.split()))
    if not groups:
        raise ValueError(f"{text!r} has no pattern; {EXAMPLE}, or null")
    patterns = [group.pattern for group in groups]
    if twice := [pattern for pattern in patterns if patterns.count(pattern) > 1]:
        raise ValueError(f"{text!r} has {twice[0]} twice; remove one")
    return groups


def _group(part: str) -> DecayGroup:
    pattern, _, number = part.rpartition("=")
    try:
        decay = float(number)
    except ValueError:
        decay = math.nan
    if not pattern or not 0 <= decay < math.inf:
        raise ValueError(f"{part!r} is no pattern with a decay of 0 or more; {EXAMPLE}")
    return DecayGroup(pattern, decay + 0.0)
