"""The schedule of lengths that a run is trained at, such as "128 25% then 256 25% then 512 50%"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

GOLDEN = (math.sqrt(5) - 1) / 2  # the fractional parts of its multiples are spread evenly (Weyl, 1916)
ROUNDING = 1e-4  # per cent by which the shares of a schedule may miss 100
EXAMPLE = "write such as 128 25% then 256 25% then 512 50%, or 128 or 512 for a mixture"


@dataclass(frozen=True)
class LengthSchedule:
    """A schedule of lengths: one after the other, or a mixture, in which each step has one of the lengths.

    Attributes:
        lengths: The tokens in a sequence of each part.
        shares: The share of the steps, and so of the tokens, that each part has. They add up to 1.
        mixed: Whether the parts are a mixture.
    """

    lengths: tuple[int, ...]
    shares: tuple[float, ...]
    mixed: bool

    def __str__(self) -> str:
        """Return the text that describes the schedule, the same for equal ones."""
        equal = max(self.shares) - min(self.shares) < ROUNDING / 100
        shares = [""] * len(self.shares) if equal else [f" {100 * share:g}%" for share in self.shares]
        parts = [f"{length}{share}" for length, share in zip(self.lengths, shares, strict=True)]
        return (" or " if self.mixed else " then ").join(parts)

    def length(self, step: int, steps: int) -> int:
        """Return the tokens in a sequence of a step, counted from 0, of a run of `steps` steps.

        In a mixture the length follows from the step alone, so runs with the same mixture have the same at each step.
        """
        along = (step + 1) * GOLDEN % 1 if self.mixed else (step + 0.5) / steps
        ends = accumulate(self.shares)
        return next((length for length, end in zip(self.lengths, ends, strict=True) if along < end), self.lengths[-1])

    def weights(self) -> dict[int, float]:
        """Return the share of each length, in ascending order."""
        found = dict.fromkeys(sorted(self.lengths), 0.0)
        for length, share in zip(self.lengths, self.shares, strict=True):
            found[length] += share
        return found


@lru_cache(maxsize=1000)
def parse_schedule(text: str) -> LengthSchedule:
    """Return the schedule that a text describes.

    The text has lengths, each with a share in per cent, with "then" between them or, for a mixture, "or". Without
    shares all are equal.

    Raises:
        ValueError: The text describes no schedule. The message says what to write.
    """
    words = set(re.findall(r"\b(?:then|or)\b", text))
    if len(words) > 1:
        raise ValueError(f"{text!r} has both then and or; {EXAMPLE}")
    parts = [re.fullmatch(r"(\d+)(?:\s+(\d+(?:\.\d+)?)\s*%)?", part.strip()) for part in re.split("then|or", text)]
    found = [part.groups() for part in parts if part]
    if len(found) < len(parts):
        raise ValueError(f"{text!r} is no schedule; {EXAMPLE}")
    lengths, given = tuple(int(length) for length, _ in found), [share for _, share in found]
    if not all(lengths):
        raise ValueError(f"{text!r} has a length of 0; {EXAMPLE}")
    if any(given) and None in given:
        raise ValueError(f"{text!r} has a share for some lengths only; give all of them one, or none")
    shares = [float(share) for share in given] if all(given) else [100 / len(lengths)] * len(lengths)
    if abs(sum(shares) - 100) > ROUNDING or not all(shares):
        raise ValueError(f"{text!r}: its shares are not above 0 with a sum of 100 %, but of {sum(shares):g} %")
    return LengthSchedule(lengths, tuple(share / 100 for share in shares), words == {"or"})
