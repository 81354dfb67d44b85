"""Parse and format counts and sizes in bytes."""

from __future__ import annotations

import re

#: SI prefixes of counts, the largest first.
PREFIXES = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))
SIZE = re.compile(r"(\d[\d_]{0,15}(?:\.\d{1,9})?)([KMGT]?)(?:I?B)?", re.ASCII)


def count(number: float) -> str:
    """Return a number with three digits and an SI prefix: 1.2M."""
    number = float(f"{number:.3g}")  # 999.9 is 1K
    for size, letter in PREFIXES:
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: "1 run", "2 runs".

    Args:
        number: How many.
        noun: The noun for one.
        nouns: The noun for any other number. Default: the noun with an s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {nouns or noun + 's'}"


def memory(size: float) -> str:
    """Return a size in bytes as KiB, MiB or GiB."""
    if size < 2**20:
        return f"{size / 2**10:.0f} KiB"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def parse_size(text: str, kilo: int = 1024) -> int:
    """Return the number that a size stands for: 200000, 200_000, 512M, 4G or 4GB.

    Args:
        text: The text of the user.
        kilo: The value of K: 1024 for memory, 1000 for data and tokens.

    Raises:
        ValueError: The text is not a size of at least 1.
    """
    match = SIZE.fullmatch(text.strip().upper())
    size = int(float(match[1]) * kilo ** " KMGT".index(match[2] or " ")) if match else 0
    if size < 1:
        raise ValueError(f"{text!r} is not a size; write 200000, 512M or 4G (K is {kilo:,})")
    return size
